"""A tick of an engine that has nothing to do: what it costs, and what it leaves behind."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select

from models.database import Database
from models.event import Subscriber
from models.queries import stamps
from orchestrator.services import sweeps, ticks
from orchestrator.services.sweeps import BEAT, SELDOM, SWEEPS
from tests.support import engine
from tests.support.engine import Engine
from tests.support.histories import execute


@pytest.fixture
def settled(database: Database) -> Engine:
    """An engine whose sweeps have all run, and found nothing more."""
    ours = engine.make(database)
    for _ in range(2):
        for name in SWEEPS:
            ours.send(sweeps.run(ours.deps, name).effects)
    return ours


@contextmanager
def statements(ours: Engine) -> Iterator[list[str]]:
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            found.append(statement)

    engines = {ours.deps.db.engine, ours.deps.db._autocommit}
    for each in engines:
        event.listen(each, "before_cursor_execute", note)
    yield found
    for each in engines:
        event.remove(each, "before_cursor_execute", note)


def cursor(ours: Engine) -> str:
    with ours.deps.db.read() as session:
        return session.execute(select(Subscriber.cursor).where(Subscriber.name == "webhooks")).scalar_one()


def test_nothing_to_do_is_three_statements_for_all_sweeps(settled: Engine) -> None:
    with statements(settled) as found:
        assert set(ticks.due(settled.deps, list(SWEEPS))) == set(SELDOM)
    assert len(found) == 3


def test_those_that_need_not_run_are_stamped_as_if_they_had(settled: Engine) -> None:
    execute(settled, "DELETE FROM stamp WHERE name <> 'leases.seen' AND name <> 'leases.contact'")
    assert set(sweeps.stale(settled.deps)) == set(SWEEPS)
    ticks.due(settled.deps, ["due", "stops", "offers"])
    assert set(SWEEPS) - set(sweeps.stale(settled.deps)) == {"due", "stops"}
    with settled.deps.db.read() as session:
        assert BEAT in stamps.last(session, [BEAT])


def test_a_step_that_waits_to_be_sent_is_seen(settled: Engine) -> None:
    settled.publish({"name": "w", "nodes": [{"id": "a", "type": "slow_probe"}]})
    settled.start("w")
    assert "undispatched" in ticks.due(settled.deps, list(SWEEPS))


def test_contact_is_noted_well_within_a_silence(settled: Engine) -> None:
    assert "leases" in ticks.nothing_for(settled.deps)
    with settled.deps.db.transaction() as session:
        now = sweeps.sweeps.clock(session)
        stamps.put(session, "leases.seen", now - 3.0)  # of 10
    assert "leases" in ticks.due(settled.deps, ["leases"])


def test_a_journal_that_nobody_listens_to_moves_seldom(settled: Engine) -> None:
    settled.publish({"name": "w", "nodes": [{"id": "a", "type": "probe"}]})
    settled.start("w")
    settled.drain()
    before = cursor(settled)
    assert "webhooks" in ticks.nothing_for(settled.deps)
    assert cursor(settled) == before
    execute(settled, "UPDATE subscriber SET moved_at = moved_at - :by", by=_seconds(settled, 31))
    assert "webhooks" not in ticks.nothing_for(settled.deps)
    settled.send(sweeps.run(settled.deps, "webhooks").effects)
    assert cursor(settled) != before


def _seconds(ours: Engine, seconds: int) -> object:
    from datetime import timedelta

    return seconds if ours.deps.db.is_sqlite else timedelta(seconds=seconds)
