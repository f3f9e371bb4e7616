"""A run that starts at once is written as one that had to wait becomes when its turn has come."""

from typing import Any

import pytest
from sqlalchemy import select

from models.database import Database
from models.event import Event
from models.run import Run
from models.step import Attempt, Step
from orchestrator.services import runs
from tests.support.engine import Engine
from tests.support.probes import NAME, ends, probe, publish

TABLES: tuple[Any, ...] = (Run, Step, Attempt, Event)
IDS = ("xid", "id", "run_id")
DISPATCHED = probe("a")
DEADLINE = probe("b", total_timeout="1h")
INLINE = {"id": "c", "type": "noop"}
REFUSED = probe("d", when="false")
AFTER = probe("e")


def _rows(ours: Engine, run_id: str) -> list[dict[str, Any]]:
    """All that is stored of a run; of times, whether they are set."""
    found = []
    with ours.deps.db.read() as session:
        for table in TABLES:
            key = (table.id,) if table is Run else tuple(table.__table__.primary_key)
            mine = select(table.__table__).where(key[0] == run_id).order_by(*key)
            for row in session.execute(mine):
                kept = {name: value for name, value in row._mapping.items() if name not in IDS}
                found.append({n: v is not None if _is_time(n) else v for n, v in kept.items()})
    return found


def _is_time(name: str) -> bool:
    return name in ("at", "lease_until") or name.endswith("_at")


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        ([DISPATCHED], []),
        ([DISPATCHED, DEADLINE, AFTER], ["[a, b] >> e"]),
        ([INLINE, AFTER], ["c >> e"]),
        ([DISPATCHED, DEADLINE, INLINE, REFUSED, AFTER], ["[a, b, c, d] >> e"]),
        ([REFUSED, INLINE, DISPATCHED, AFTER], ["c >> e", "d >> e"]),
    ],
)
def test_both_ways_come_to_the_same(database: Database, nodes: list[Any], edges: list[str]) -> None:
    ours = publish(database, *nodes, edges=edges, concurrency={"key": "one", "limit": 1})
    first = ours.start(NAME)
    sent = [message.no for message, _ in ours.inbox]
    found = _rows(ours, first)
    second = ours.start(NAME)
    assert ours.row(second).status == "pending"
    ours.inbox.clear()
    ours.send(runs.abort(ours.deps, ours.actor, first, ""))
    assert [message.no for message, _ in ours.inbox] == sent
    assert _rows(ours, second) == found
    ends(ours, second, "success")


def test_first_events_are_in_order(database: Database) -> None:
    ours = publish(database, DISPATCHED, AFTER)
    run_id = ours.start(NAME, overrides={"nodes": {"a": {"timeout": 5.0}}}, labels={"team": "a"})
    with ours.deps.db.read() as session:
        log = session.scalars(select(Event).where(Event.run_id == run_id).order_by(Event.seq)).all()
    told = [(event.seq, event.type, event.step, event.actor) for event in log]
    assert told == [
        (1, "run.created", None, "test"),
        (2, "override.applied", None, "test"),
        (3, "run.started", None, None),
        (4, "step.queued", "a", None),
        (5, "step.queued", "e", None),
    ]
    assert {event.xid for event in log} == {ours.row(run_id).xid}
    assert ours.row(run_id).seq == 5
    ends(ours, run_id, "success")
