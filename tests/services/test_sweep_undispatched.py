"""The sweep of undispatched steps sends what can have been lost, and no more."""

import pytest
from sqlalchemy import text

from models.database import Database
from orchestrator.services import sweeps
from tests.support import engine
from tests.support.engine import Engine


@pytest.fixture
def made(database: Database) -> Engine:
    found = engine.make(database)
    found.publish({"name": "wide", "nodes": [{"id": f"n{n}", "type": "nothing"} for n in range(20)]})
    return found


def lose_after(made: Engine, seconds: float) -> None:
    """The broker lost every message, `seconds` ago."""
    earlier = ":s" if made.deps.db.is_sqlite else "make_interval(secs => :s)"
    with made.deps.db.transaction() as session:
        session.execute(text(f"UPDATE step SET sent_at = sent_at - {earlier}"), {"s": seconds})
    made.inbox.clear()


def swept(made: Engine, length: int | None) -> int:
    return sweeps.run(made.deps, "undispatched", None if length is None else lambda _queue: length).found


def test_a_queue_that_holds_all_is_not_made_longer(made: Engine) -> None:
    made.start("wide")
    lose_after(made, 60)
    assert swept(made, 20) == 0


def test_as_many_are_sent_as_the_broker_misses(made: Engine) -> None:
    made.start("wide")
    lose_after(made, 60)
    assert swept(made, 17) == 3


def test_an_empty_queue_is_made_good_after_a_second(made: Engine) -> None:
    made.start("wide")
    lose_after(made, 2)
    assert swept(made, 20) == 0
    assert swept(made, 0) == 20


def test_without_a_broker_all_are_sent_after_five_seconds(made: Engine) -> None:
    run_id = made.start("wide")
    lose_after(made, 2)
    assert swept(made, None) == 0
    lose_after(made, 6)
    assert swept(made, None) == 20
    assert set(made.statuses(run_id).values()) == {"queued"}
