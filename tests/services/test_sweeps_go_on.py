"""Sweeps: what holds one up, what they leave behind, what they cost."""

import threading
from typing import Any

import pytest
from sqlalchemy import select, text

from models.database import Database
from models.errors import UnavailableError
from models.outbox import Outbox
from models.queries import runs as run_rows
from models.queries import stamps
from models.queries.sweeps import clock
from models.states import RunStatus
from orchestrator.core.effects import Message, Wave
from orchestrator.ports import StepContext
from orchestrator.services import runs, stops, sweeps
from orchestrator.services.plans import PlanCache
from orchestrator.settings import Settings
from tasks.canvas import Sender
from tests.support import attempts, engine
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.polling import poll
from tests.support.soundness import assert_run_sound

CENT = 1_000_000


def started(ours: Engine, name: str = "w", **node: Any) -> str:
    """A run of two steps, the first of which is slow and costs 3 cents."""
    first = {"id": "a", "type": "slow_probe", "estimated_cost_cents": 3, **node}
    ours.publish({"name": name, "nodes": [first, {"id": "b", "type": "probe"}], "edges": ["a >> b"]})
    return ours.start(name)


@pytest.mark.parametrize(("lease", "sweep", "apart"), [(10, 10, 10.5), (4, 1, 5)])
def test_leases_expire_however_far_apart_sweeps_come(
    lease: float, sweep: float, apart: float, database: Database
) -> None:
    """As far as leases are long; as far as workers come that sweep themselves."""
    ours = engine.make(database, settings=Settings(lease_seconds=lease, sweep_seconds=sweep))
    run_id = started(ours)
    claimed = attempts.take(ours, "a")
    attempts.expire(ours, claimed)
    with database.transaction() as session:
        now = clock(session)
        stamps.put(session, "leases.contact", now - 60)
        stamps.put(session, "leases.seen", now - apart)
    ours.send(sweeps.run(ours.deps, "leases").effects)
    assert ours.statuses(run_id)["a"] == "queued"


def test_a_run_that_cannot_be_swept_holds_up_no_other(database: Database) -> None:
    ours = engine.make(database)
    broken, whole = started(ours, "broken"), started(ours, "whole")
    for claimed in (attempts.take(ours, "a"), attempts.take(ours, "a")):
        attempts.expire(ours, claimed)
    execute(ours, "UPDATE workflow_version SET plan = '{}' WHERE id = :id", id=ours.row(broken).version_id)
    ours.deps.__dict__["plans"] = PlanCache()
    attempts.in_contact(ours)
    ours.send(sweeps.run(ours.deps, "leases").effects)
    assert ours.statuses(broken)["a"] == "running"
    assert ours.statuses(whole)["a"] == "queued"


def test_a_step_of_a_type_that_this_worker_lacks_fails(database: Database) -> None:
    ours = engine.make(database)
    run_id = started(ours)
    types, handlers = dict(ours.deps.types), dict(ours.deps.handlers)
    del types["slow_probe"], handlers["slow_probe"]
    ours.deps.__dict__.update(types=types, handlers=handlers)
    ours.drain()
    assert (ours.row(run_id).status, ours.row(run_id).error["code"]) == ("failed", "INTERNAL")
    assert_run_sound(ours.deps, run_id)


def test_lost_and_aborted_attempts_cost_their_estimate(database: Database) -> None:
    for budget in (None, {"limit_cents": 100}):
        ours = engine.make(database)
        first = {"id": "a", "type": "slow_probe", "estimated_cost_cents": 3}
        ours.publish({"name": "w", "nodes": [first]})
        run_id = ours.start("w", budget=budget)
        attempts.lose(ours, attempts.take(ours, "a"))
        assert ours.row(run_id).cost_microcents == 3 * CENT
        attempts.take(ours, "a")
        runs.abort(ours.deps, ours.actor, run_id, "enough")
        assert ours.row(run_id).cost_microcents == 6 * CENT
        assert [found.cost_microcents for found in attempts.attempts(ours, run_id, "a")] == [3 * CENT] * 2
        assert_run_sound(ours.deps, run_id)


def entries(ours: Engine) -> list[tuple[str, int]]:
    with ours.deps.db.read() as session:
        return sorted((row.kind, row.attempt) for row in session.scalars(select(Outbox)))


def test_an_abort_ends_the_work_of_lost_attempts_too(database: Database) -> None:
    ours = engine.make(database)
    run_id = started(ours)
    attempts.lose(ours, attempts.take(ours, "a"))
    assert ours.statuses(run_id)["a"] == "queued"
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    assert entries(ours) == [("stop", 1)]
    assert len(ours.stops) == 1
    ours.inbox.clear()
    run_id = started(ours, "again")
    attempts.lose(ours, attempts.take(ours, "a"))
    attempts.take(ours, "a")
    runs.abort(ours.deps, ours.actor, run_id, "enough")
    assert entries(ours) == [("stop", 1), ("stop", 1), ("stop", 2)]


def test_an_attempt_that_a_sweep_fails_is_ended_where_it_works(database: Database) -> None:
    ours = engine.make(database)
    started(ours, timeout=5)
    attempts.take(ours, "a")
    execute(ours, "UPDATE step SET timeout_at = :at WHERE path = 'a'", at=attempts.long_ago(ours))
    ours.send(sweeps.run(ours.deps, "timeouts").effects)
    assert entries(ours) == [("stop", 1)]
    run_id = started(ours, "poison")
    for _ in range(3):
        attempts.lose(ours, attempts.take(ours, "a"))
    assert ours.statuses(run_id)["a"] == "failed"
    assert entries(ours) == [("stop", 1), ("stop", 1), ("stop", 2), ("stop", 3)]


@pytest.mark.parametrize("error", [UnavailableError("away"), ValueError("a broken plug-in")])
def test_a_stop_that_fails_is_tried_again_and_given_up_in_the_end(
    database: Database, error: Exception
) -> None:
    class Unstoppable:
        def execute(self, ctx: StepContext) -> None: ...

        def stop_data(self, ctx: StepContext) -> dict[str, str]:
            return {}

        def stop(self, data: dict[str, str]) -> None:
            raise error

    ours = engine.make(database)
    ours.deps.__dict__["handlers"] = {**ours.deps.handlers, "slow_probe": Unstoppable()}
    run_id = started(ours)
    attempts.take(ours, "a")
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    (stop,) = ours.stops
    assert stops.carry_out(ours.deps, stop.outbox_id) is False
    assert entries(ours) == [("stop", 1)]
    execute(ours, "UPDATE outbox SET tries = :tries", tries=stops.TRIES)
    assert stops.carry_out(ours.deps, stop.outbox_id) is True
    assert entries(ours) == []


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_a_publish_that_failed_waits_for_the_runs_turn(database: Database) -> None:
    ours = engine.make(database)
    ours.publish({"name": "w", "nodes": [{"id": name, "type": "probe"} for name in ("a", "b")]})
    run_id = ours.start("w")
    sender = Sender(deps=ours.deps)
    messages = tuple(Message(run_id=run_id, no=no, path="ab"[no], attempt=0) for no in (0, 1))
    unsent = threading.Thread(target=sender._unsent, args=(Wave(messages=messages),))
    with database.transaction() as session:
        run_rows.lock(session, run_id)
        session.execute(text("UPDATE step SET sends = 1 WHERE run_id = :run AND no = 1"), {"run": run_id})
        unsent.start()
        poll(lambda: waiting(database), what="the wait for the lock")
        session.execute(text("UPDATE step SET sends = 1 WHERE run_id = :run AND no = 0"), {"run": run_id})
    unsent.join(10)
    assert attempts.step(ours, run_id, "a").sent_at is None
    assert ours.row(run_id).status == RunStatus.RUNNING


def waiting(database: Database) -> bool:
    with database.read() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
