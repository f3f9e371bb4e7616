from collections.abc import Iterator

import pytest
import structlog

from tests.simulation import many


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Faults are what this is about: they need no line each."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=many.QUIET)
    yield
    structlog.configure(**before)
