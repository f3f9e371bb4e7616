"""What doctor says without asking anybody."""

import pytest

from orchestrator.services.doctor import foreign_results
from orchestrator.settings import Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(), "virtual_host=1"),
        (Settings(broker_url="redis://:secret@h/0"), "redis://:***@h/0"),
        (Settings(broker_url="amqp://h", result_backend="db+postgresql://u:p@h/x"), "pickles"),
        (Settings(broker_url="amqp://h"), "ORCHESTRATOR_RESULT_BACKEND"),
    ],
)
def test_where_other_applications_put_results(settings: Settings, said: str) -> None:
    assert said in foreign_results(settings).detail
    assert "secret" not in foreign_results(settings).detail
