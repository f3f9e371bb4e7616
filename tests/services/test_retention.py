"""Runs leave whole, some time after their end: never one that goes on, and nothing of them stays."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from models.base import Base, uuid7
from models.database import Database
from models.errors import NotFoundError
from models.event import Event
from models.queries import retention as queries
from models.retention import DepartedRun
from models.run import Run
from orchestrator.services import control, forking, retention, signals, sweeps
from orchestrator.services.forking import Wanted
from orchestrator.services.reaching import Wanted as Step
from orchestrator.services.signals import Sent
from orchestrator.settings import Settings
from tests.support import attempts, calls, timetable
from tests.support.calls import call, child
from tests.support.engine import Engine
from tests.support.histories import execute, moment
from tests.support.probes import NAME, ended, probe, publish
from tests.support.soundness import assert_sound

KEPT = Settings(run_retention_days=30.0)
# Where a column tells of a run and its rows stay: of no run in particular, gone in a minute, or after the run.
STAY = {"chunk", "departed_run", "run", "schedule_fire", "webhook_delivery"}


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def age(ours: Engine, run_id: str, days: float) -> None:
    """Let a run have ended so many days ago."""
    execute(ours, "UPDATE run SET finished_at = :at WHERE id = :run", at=moment(ours, ago(days)), run=run_id)


def sweep(ours: Engine) -> int:
    """Sweep with a newer run there, so that none holds the newest event."""
    name = f"newest-{uuid7()}"
    ours.publish({"name": name, "nodes": [probe("a")]})
    ours.run(name)
    found = sweeps.run(ours.deps, "retention").found
    assert_sound(ours.deps)
    return found


def runs(ours: Engine) -> set[str]:
    with ours.deps.db.read() as session:
        return set(session.scalars(select(Run.id).where(Run.workspace_id == ours.actor.workspace_id)))


def left(ours: Engine, run_id: str) -> dict[str, int]:
    """How many rows each table has that tell of a run."""
    found = {}
    with ours.deps.db.read() as session:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                if column.name.endswith("run_id") and column.name != "budget_run_id":
                    count = session.execute(select(text("count(*)")).select_from(table).where(column == run_id))
                    if number := count.scalar_one():
                        found[f"{table.name}.{column.name}"] = number
    return found


def test_every_table_with_a_run_has_its_way_out() -> None:
    of_runs = {
        table.name
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.name in ("run_id", "taken_run_id")
        and not any(key.column.table.name == "run" for key in column.foreign_keys)
    }
    assert of_runs - STAY == {table.__tablename__ for table in queries.LEFT}


def test_a_run_leaves_with_all_that_is_its_own(database: Database) -> None:
    nodes = [
        probe("a"),
        {"id": "all", "type": "parallel", "count": 3, "body": {"nodes": [probe("x")]}},
        {"id": "ask", "type": "approval", "assignees": ["ada"]},
        {"id": "wait", "type": "signal", "signal": "go", "key": "k"},
    ]
    ours = publish(database, *nodes, edges=["a >> all"], settings=KEPT)
    old, young = (ours.run(NAME, labels={"team": "x"}, budget={"limit_cents": 9}) for _ in range(2))
    for run_id in (old, young):
        ours.send(signals.to_key(ours.deps, ours.actor, "k", Sent(signal="go")).effects)
        ours.send(control.skip(ours.deps, ours.actor, Step(run_id=run_id, path="ask")))
        ours.drain()
        assert ours.row(run_id).status == "success"
    age(ours, old, 31)
    age(ours, young, 29)
    before = left(ours, young)
    assert {"event.run_id", "attempt.run_id", "branch.run_id", "approval.run_id", "run_data.run_id"} <= set(before)
    sweep(ours)
    assert left(ours, old) == {}
    assert left(ours, young) == before
    assert old not in runs(ours)
    assert sweeps.run(ours.deps, "retention").found == 0


def test_without_a_setting_runs_stay(database: Database) -> None:
    ours = publish(database, probe("a"))
    run_id = ended(ours)
    age(ours, run_id, 10_000)
    sweep(ours)
    assert run_id in runs(ours)


@pytest.mark.parametrize(("own", "default", "leaves"), [(5.0, None, True), (5.0, 30.0, True), (50.0, 5.0, False)])
def test_a_workspace_may_say_it_for_itself(database: Database, own: float, default: float, leaves: bool) -> None:
    ours = publish(database, probe("a"), settings=Settings(run_retention_days=default))
    other = publish(database, probe("a"), settings=Settings(run_retention_days=default))
    mine, theirs = ended(ours), ended(other)
    execute(ours, "UPDATE workspace SET run_retention_days = :own WHERE id = :id", own=own, id=ours.actor.workspace_id)
    for engine, run_id in ((ours, mine), (other, theirs)):
        age(engine, run_id, 10)
    sweep(ours)
    assert (mine not in runs(ours)) == leaves
    assert (theirs not in runs(other)) == (default == 5.0)


def test_what_goes_on_stays_however_old(database: Database) -> None:
    ours = publish(database, probe("a", {"wait": "for ever"}), settings=KEPT)
    parked = ours.run(NAME)
    execute(ours, "UPDATE run SET created_at = :at", at=moment(ours, ago(1_000)))
    sweeps.run(ours.deps, "retention")
    assert parked in runs(ours)


def test_what_was_opened_again_counts_from_its_next_end(database: Database) -> None:
    ours = publish(database, probe("a"), settings=KEPT)
    run_id = ended(ours)
    age(ours, run_id, 100)
    ours.send(control.rerun(ours.deps, ours.actor, Step(run_id=run_id, path="a")))
    sweep(ours)
    assert run_id in runs(ours)
    ours.drain()
    sweep(ours)
    assert run_id in runs(ours)
    age(ours, run_id, 31)
    sweep(ours)
    assert run_id not in runs(ours)


LEAF = {"name": "leaf", "nodes": [probe("x")]}
MIDDLE = {"name": "middle", "nodes": [call("down", "leaf")]}
TOP = {"name": NAME, "nodes": [call("one", "middle"), call("two", "leaf", wait=False)], "budget": {"limit_cents": 9}}


def family(ours: Engine) -> tuple[str, list[str]]:
    """A run that called others, and all of them below it."""
    top = ended(ours)
    first, second = calls.called(ours, top)
    return top, [first.id, second.id, child(ours, first.id).id]


def test_called_runs_leave_with_the_one_above(database: Database) -> None:
    ours = calls.made(database, LEAF, MIDDLE, TOP, settings=KEPT)
    top, below = family(ours)
    for run_id in below:
        age(ours, run_id, 100)
    sweep(ours)
    assert {top, *below} <= runs(ours)
    age(ours, top, 31)
    sweep(ours)
    assert not {top, *below} & runs(ours)
    assert [left(ours, run_id) for run_id in (top, *below)] == [{}] * 4


@pytest.mark.parametrize("late", [0, 1, 2])
def test_none_leaves_before_the_last_has_ended_long_ago(database: Database, late: int) -> None:
    ours = calls.made(database, LEAF, MIDDLE, TOP, settings=KEPT)
    top, below = family(ours)
    for run_id in (top, *below):
        age(ours, run_id, 100)
    age(ours, below[late], 29)
    sweep(ours)
    assert {top, *below} <= runs(ours)


def test_a_large_family_leaves_from_the_top_and_little_by_little(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "RUNS", 2)
    monkeypatch.setattr(retention, "ROWS", 7)
    monkeypatch.setattr(retention, "PASSES", 1)
    ours = calls.made(database, LEAF, MIDDLE, TOP, settings=KEPT)
    families = [family(ours) for _ in range(3)]
    whole = {run_id for top, below in families for run_id in (top, *below)}
    for run_id in whole:
        age(ours, run_id, 31)
    turns = 0
    while any(left(ours, run_id) for run_id in whole):
        sweep(ours)
        turns += 1
        assert turns < 1_000
    assert turns > 10
    with ours.deps.db.read() as session:
        assert session.scalars(select(DepartedRun.run_id)).all() == []


def test_a_called_run_that_goes_on_again_holds_the_others(database: Database) -> None:
    """One that a person opened after its caller had been found to leave."""
    ours = calls.made(database, LEAF, MIDDLE, TOP, settings=KEPT)
    top, below = family(ours)
    for run_id in (top, *below):
        age(ours, run_id, 31)
    ours.send(control.rerun(ours.deps, ours.actor, Step(run_id=below[1], path="x")))
    with ours.deps.db.transaction() as session:
        assert queries.leave(session, [top], ago(30).timestamp(), 500) == 0
    ours.drain()
    assert ours.row(below[1]).status == "success"
    assert_sound(ours.deps)


def test_no_run_is_opened_again_whose_caller_has_left(database: Database) -> None:
    ours = calls.made(database, LEAF, MIDDLE, TOP, settings=KEPT)
    top, below = family(ours)
    for run_id in (top, *below):
        age(ours, run_id, 31)
    ended(ours)
    with ours.deps.db.transaction() as session:
        assert queries.leave(session, [top], ago(30).timestamp(), 1) == 1
    assert runs(ours) >= set(below)
    with pytest.raises(NotFoundError):
        control.rerun(ours.deps, ours.actor, Step(run_id=below[1], path="x"))
    sweep(ours)
    assert not set(below) & runs(ours)


def test_a_fork_stays_when_its_origin_has_left(database: Database) -> None:
    ours = publish(database, probe("a", {"succeed": {"n": 1}}), probe("b"), edges=["a >> b"], settings=KEPT)
    origin = ended(ours)
    created = forking.fork(ours.deps, ours.actor, Wanted(run_id=origin, from_step="b"))
    ours.send(created.effects)
    ours.drain()
    age(ours, origin, 31)
    sweep(ours)
    assert origin not in runs(ours)
    again = forking.fork(ours.deps, ours.actor, Wanted(run_id=created.run_id, from_step="b"))
    ours.send(again.effects)
    ours.send(control.rerun(ours.deps, ours.actor, Step(run_id=created.run_id, path="b")))
    ours.drain()
    assert [ours.row(run_id).status for run_id in (created.run_id, again.run_id)] == ["success"] * 2
    assert attempts.attempts(ours, created.run_id, "a")[-1].output == {"n": 1}
    assert_sound(ours.deps)


def test_signals_that_nobody_took_leave(database: Database) -> None:
    ours = publish(database, probe("a"), settings=Settings(run_retention_days=0.001))
    signals.to_key(ours.deps, ours.actor, "k", Sent(signal="go", id="1"))
    execute(ours, "UPDATE signal SET id = '00000000-0000-7000-8000-000000000001'")
    signals.to_key(ours.deps, ours.actor, "k", Sent(signal="go", id="2"))
    sweep(ours)
    with ours.deps.db.read() as session:
        assert session.scalars(text("SELECT sender_id FROM signal")).all() == ["2"]


def test_fires_leave_after_their_runs(database: Database) -> None:
    ours, clock = timetable.published(database, timetable.AT_ONCE, settings=KEPT)
    timetable.make(ours)
    for _ in range(4):
        timetable.moved(ours, clock, minutes=1)
    timetable.fill(ours, timetable.START, timetable.START)
    timetable.sweep(ours)
    assert timetable.fired(ours) == [(minute, "started") for minute in range(5)]
    filled, first, second, third, _ = timetable.runs(ours)
    for run_id in (filled, first, second):
        age(ours, run_id, 31)
    old = moment(ours, ago(31))
    execute(ours, "UPDATE schedule_fire SET created_at = :at WHERE kind <> 'backfill'", at=old)
    execute(ours, "UPDATE schedule_fire SET outcome = 'skipped', run_id = NULL WHERE run_id = :run", run=third)
    sweep(ours)
    assert timetable.fired(ours) == [(0, "started"), (4, "started")]  # made up lately; its run is there
    assert sweeps.run(ours.deps, "retention").found == 0
    timetable.moved(ours, clock, minutes=1)
    assert [minute for minute, _ in timetable.fired(ours)] == [0, 4, 5]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_run_with_the_newest_event_stays_until_there_is_a_newer_one(database: Database) -> None:
    ours = publish(database, probe("a"), settings=KEPT)
    first, second = ended(ours), ended(ours)
    for run_id in (first, second):
        age(ours, run_id, 31)
    sweeps.run(ours.deps, "retention")
    assert runs(ours) == {second}
    newest = _newest(ours)
    third = ended(ours)
    sweeps.run(ours.deps, "retention")
    assert runs(ours) == {third}
    assert _newest(ours) > newest


def _newest(ours: Engine) -> int:
    with ours.deps.db.read() as session:
        return int(session.scalar(text("SELECT max(rowid) FROM event")) or 0)


def test_two_sweeps_at_once_do_no_harm(database: Database) -> None:
    ours = calls.made(database, LEAF, MIDDLE, TOP, settings=KEPT)
    old = [family(ours)[0] for _ in range(8)]
    for run_id in runs(ours):
        age(ours, run_id, 31)
    young = ended(ours)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: sweeps.run(ours.deps, "retention"), range(8)))
    sweep(ours)
    assert young in runs(ours)
    assert not set(old) & runs(ours)
    with ours.deps.db.read() as session:
        known = set(session.scalars(select(Event.run_id).distinct()))
    assert known <= runs(ours)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_what_is_to_leave_is_found_by_an_index(database: Database) -> None:
    ours = publish(database, probe("a"), settings=KEPT)
    query = (
        "SELECT finished_at, id FROM run WHERE workspace_id = :workspace AND parent_run_id IS NULL"
        " AND finished_at < now() AND (finished_at, id) > (now(), :workspace) ORDER BY finished_at, id LIMIT 200"
    )
    with ours.deps.db.read() as session:
        plan: Any = session.scalars(text(f"EXPLAIN {query}"), {"workspace": ours.actor.workspace_id})
        assert "ix_run_ended" in "\n".join(plan)
