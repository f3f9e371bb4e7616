"""What doctor says without asking anybody, and of gateways."""

from datetime import UTC, datetime

import pytest

from models.base import uuid7
from models.database import Database
from models.gateway import Gateway
from models.workspace import Workspace
from orchestrator.services import doctor
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


@pytest.mark.parametrize(
    ("url", "ok", "said"),
    [
        ("off", True, "off"),
        ("memory://", True, "in this process alone"),
        ("redis://u:hidden@127.0.0.1:1/0", False, "the event bus on Redis does not answer"),
        ("nats://u:hidden@127.0.0.1:1", False, "the event bus on NATS does not answer"),
        ("amqp://u:hidden@127.0.0.1:1", False, "the event bus on RabbitMQ does not answer"),
    ],
)
def test_the_event_bus_is_asked(url: str, ok: bool, said: str) -> None:
    settings = Settings(broker_url="redis://127.0.0.1:1/0", event_bus=url)
    (found,) = [check for check in doctor.examine(settings) if check.name == "event_bus"]
    assert (found.ok, said in found.detail, "hidden" in found.detail) == (ok, True, False)


def test_gateways_that_are_not_well_are_named(database: Database, database_url: str) -> None:
    at, workspace = datetime.now(UTC), uuid7()
    with database.transaction() as session:
        session.add(Workspace(id=workspace, name="team", created_at=at))
        session.flush()
        for name, status in (("a", "healthy"), ("b", "unhealthy"), ("c", "unknown")):
            session.add(
                Gateway(
                    workspace_id=workspace,
                    name=name,
                    kind="openclaw",
                    url=f"ws://{name}.example",
                    token="sealed-canary",
                    status=status,
                    error="nobody listens" if status == "unhealthy" else None,
                    created_at=at,
                    updated_at=at,
                )
            )
    settings = Settings(database_url=database_url, broker_url="redis://127.0.0.1:1/0", secret_key="k" * 16)
    found = [check for check in doctor.examine(settings) if check.name.startswith("gateway ")]
    assert [(check.name, check.ok, check.detail) for check in found] == [
        ("gateway team/a", True, "openclaw at ws://a.example, healthy"),
        ("gateway team/b", False, "openclaw at ws://b.example, unhealthy: nobody listens"),
        ("gateway team/c", True, "openclaw at ws://c.example, unknown"),
    ]
