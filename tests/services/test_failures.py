"""What docs/failures.md says of a failure, where no other test shows exactly that: one row, one test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from models import schema
from models.database import Database
from models.errors import ConflictError
from models.queries import stamps
from models.queries.leases import Held
from models.queries.sweeps import clock
from orchestrator.core.effects import Wave
from orchestrator.services import control, run_views, runs, sweeps
from orchestrator.services.leases import LeaseKeeper
from orchestrator.services.reaching import Wanted
from orchestrator.settings import Settings
from tests.support import attempts, engine
from tests.support.bodies import definition, ended, probe
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.soundness import assert_run_sound

SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"])
DOWN: dict[str, Any] = {"fail": "NETWORK"}


@pytest.fixture
def ours(database: Database) -> Engine:
    return engine.make(database)


def test_a_broker_that_is_away_at_the_trigger(ours: Engine) -> None:
    ours.publish(definition(probe("a"), probe("b"), edges=["a >> b"]))
    created = runs.create(ours.deps, ours.actor, "w", runs.Trigger())
    assert [type(effect) for effect in created.effects] == [Wave]  # committed, answered, and lost on the way
    execute(ours, "UPDATE step SET sent_at = :at WHERE status = 'queued'", at=attempts.long_ago(ours))
    ours.send(sweeps.run(ours.deps, "undispatched").effects)
    ours.drain()
    assert ours.row(created.run_id).status == "success"
    assert_run_sound(ours.deps, created.run_id)


def test_a_message_that_comes_again_after_its_step_has_ended(ours: Engine) -> None:
    ours.publish(definition(probe("a")))
    run_id = ours.start("w")
    (message, _) = ours.inbox[0]
    ours.drain()
    told = attempts.told(ours, run_id)
    ours.carrier.carry(message)
    assert attempts.told(ours, run_id) == told


def test_a_step_that_kills_its_workers(ours: Engine) -> None:
    node = probe("a", retry={"max_attempts": 9, "initial": 0}, fallback="b")
    ours.publish(definition(node, probe("b", output="{{a.error.code}}")))
    run_id = ours.start("w")
    for _ in range(3):
        attempts.lose(ours, attempts.take(ours, "a"))
    ours.drain()
    assert ours.statuses(run_id) == {"a": "failed", "b": "success"}
    assert [entry.status for entry in attempts.attempts(ours, run_id, "a")] == ["lost", "lost", "failed"]
    assert attempts.told(ours, run_id).count("step.lease_expired") == 2
    assert_run_sound(ours.deps, run_id)


def test_two_beats(ours: Engine) -> None:
    ours.publish(definition(probe("a", does={"wait": "x"}, timeout=5), probe("b")))
    run_id = ours.start("w")
    claimed = attempts.take(ours, "b")
    ours.drain()
    attempts.expire(ours, claimed)
    attempts.in_contact(ours)
    execute(ours, "UPDATE step SET timeout_at = :at WHERE path = 'a'", at=attempts.long_ago(ours))
    twins = [threading.Thread(target=ours.sweep) for _ in range(2)]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join(30)
    told = attempts.told(ours, run_id)
    assert told.count("step.lease_expired") <= 1
    assert (told.count("step.failed"), told.count("run.failed")) == (1, 1)
    assert_run_sound(ours.deps, run_id)


def test_beat_is_dead(ours: Engine) -> None:
    for name in sweeps.SWEEPS:
        sweeps.run(ours.deps, name)
    assert sweeps.stale(ours.deps) == []
    with ours.deps.db.transaction() as session:
        stamps.put(session, "sweep.leases", clock(session) - 10)
    assert sweeps.stale(ours.deps) == ["leases"]  # every worker asks, and does it itself


def sqlite_at(path: Path, read: Callable[[], float]) -> Database:
    url = f"sqlite:///{path / 'own.db'}"
    schema.upgrade(url)
    return Database(url, clock=read)


def test_a_clock_that_jumps_takes_no_step_from_its_worker(tmp_path: Path) -> None:
    now = [1_700_000_000.0]
    own = sqlite_at(tmp_path, lambda: now[0])
    ours = engine.make(own, clock=lambda: now[0])
    ours.publish(definition(probe("a")))
    run_id = ours.start("w")
    ours.sweep()
    claimed = attempts.take(ours, "a")
    now[0] += 3_600
    ours.sweep()
    assert ours.statuses(run_id) == {"a": "running"}
    attempts.end(ours, claimed)
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)
    own.close()


@contextmanager
def disk(database: Database, pages: list[int]) -> Iterator[None]:
    """The database's disk holds so many pages."""

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages[0]}")

    event.listen(database.engine, "begin", begin)
    yield
    event.remove(database.engine, "begin", begin)


@SQLITE
def test_a_disk_that_is_full_holds_an_outcome_up_and_loses_none(database: Database) -> None:
    ours = engine.make(database)
    ours.publish(definition(probe("a", output="x" * 60_000)))
    run_id = ours.start("w")
    with database.read() as session:
        full = int(session.connection().exec_driver_sql("PRAGMA page_count").scalar_one())
    pages = [1 << 30]
    with disk(database, pages):
        claimed = attempts.take(ours, "a")
        pages[0] = full
        worker = threading.Thread(target=ours.carrier._work, args=([claimed], 0.0))
        worker.start()
        assert not claimed.given_up.wait(0.3)
        assert ours.statuses(run_id) == {"a": "running"}
        pages[0] = 1 << 30
        worker.join(20)
    assert ours.row(run_id).status == "success"
    assert_run_sound(ours.deps, run_id)


def test_a_run_that_outruns_its_timeout(database: Database) -> None:
    now = [1_700_000_000.0]
    ours = engine.make(database, clock=lambda: now[0])
    ours.publish(definition(probe("a", does={"wait": "x"}), probe("b"), edges=["a >> b"], timeout=60))
    run_id = ours.run("w")
    now[0] += 61
    ours.sweep()
    assert (ours.row(run_id).status, ours.row(run_id).error["code"]) == ("failed", "TIMEOUT")
    assert ours.statuses(run_id) == {"a": "aborted", "b": "skipped"}
    assert_run_sound(ours.deps, run_id)


def test_an_attempt_that_outruns_its_timeout_is_tried_again(ours: Engine) -> None:
    ours.publish(definition(probe("a", timeout=5, retry={"max_attempts": 2, "initial": 0, "retry_on": ["TIMEOUT"]})))
    run_id = ours.start("w")
    late = attempts.take(ours, "a")
    attempts.outrun(ours, run_id, "a")
    assert ours.statuses(run_id) == {"a": "retrying"}
    attempts.end(ours, late)
    assert ours.statuses(run_id) == {"a": "retrying"}
    assert_run_sound(ours.deps, run_id)


BESIDE = [probe("a", does=DOWN), probe("b"), probe("c")]


def test_a_failure_under_fail_fast(ours: Engine) -> None:
    ours.publish(definition(*BESIDE, edges=["b >> c"]))
    run_id = ours.start("w")
    attempts.take(ours, "b")
    ours.drain()
    assert ours.statuses(run_id) == {"a": "failed", "b": "aborted", "c": "skipped"}
    assert (ours.row(run_id).status, ours.row(run_id).error["step"]) == ("failed", "a")
    assert_run_sound(ours.deps, run_id)


def test_a_failure_under_continue(ours: Engine) -> None:
    nodes = [*BESIDE, probe("d")]
    found = ended(ours, definition(*nodes, edges=["a >> d", "b >> c"], on_failure="continue"))
    assert ours.statuses(found["id"]) == {"a": "failed", "b": "success", "c": "success", "d": "skipped"}
    assert (found["status"], found["error"]["code"], found["outputs"]) == ("failed", "NETWORK", None)


def test_a_failure_that_an_error_edge_takes(ours: Engine) -> None:
    details = {"code": "{{a.error.code}}", "message": "{{a.error.message}}", "details": "{{a.error.details}}"}
    nodes = [probe("a", does=DOWN), probe("b"), probe("c", output=details)]
    found = ended(ours, definition(*nodes, edges=["a >> b", {"from": "a", "to": "c", "handle": "error"}]))
    assert (found["status"], found["error"]) == ("success", None)
    assert found["outputs"] == {"c": {"code": "NETWORK", "message": "told to fail", "details": None}}
    assert ours.statuses(found["id"])["b"] == "skipped"


def test_a_fallback_takes_its_place(ours: Engine) -> None:
    nodes = [probe("a", does=DOWN, fallback="b"), probe("b", output=1), {"id": "c", "type": "noop", "join": "any"}]
    found = ended(ours, definition(*nodes, edges=["a >> c", "b >> c"]))
    assert (found["status"], found["outputs"]) == ("success", {"c": {"value": 1}})


def test_an_error_port_without_an_edge_ends_its_branch(ours: Engine) -> None:
    found = ended(ours, definition(probe("a", does=DOWN, error_port=True), probe("b"), edges=["a >> b"]))
    assert (found["status"], ours.statuses(found["id"])) == ("success", {"a": "failed", "b": "skipped"})


@pytest.mark.parametrize("code", ["REJECTED", "EXPIRED", "LOOP_LIMIT", "CANCELLED", "BUDGET_EXCEEDED"])
def test_what_is_never_retried(ours: Engine, code: str) -> None:
    retry = {"max_attempts": 5, "initial": 0, "policy": "always"}
    found = ended(ours, definition(probe("a", does={"fail": code, "transient": True}, retry=retry)))
    assert (found["error"]["code"], len(attempts.attempts(ours, found["id"], "a"))) == (code, 1)


def test_a_condition_or_an_edge_that_cannot_be_evaluated(ours: Engine) -> None:
    found = ended(ours, definition(probe("a", when="inputs.amount > 1")))
    assert (found["status"], found["error"]["code"]) == ("failed", "UNRESOLVED_REFERENCE")
    edge = {"from": "a", "to": "b", "when": "a.n > 1"}
    ours.publish({**definition(probe("a"), probe("b"), edges=[edge]), "name": "v"})
    run_id = ours.run("v", inputs={"n": "text"})
    assert (ours.row(run_id).status, ours.statuses(run_id)) == ("failed", {"a": "failed", "b": "skipped"})
    assert_run_sound(ours.deps, run_id)


def test_a_budget_that_is_short_at_a_dispatch(ours: Engine) -> None:
    dear = {"succeed": 1, "usage": {"cost_microcents": 8_000_000}}
    nodes = [probe("a", does=dear), probe("b", estimated_cost_cents=4)]
    ours.publish(definition(*nodes, edges=["a >> b"], budget={"limit_cents": 10}))
    run_id = ours.run("w")
    run = ours.row(run_id)
    assert (run.status, run.error["code"], run.cost_microcents) == ("aborted", "BUDGET_EXCEEDED", 8_000_000)
    assert ours.statuses(run_id) == {"a": "success", "b": "skipped"}
    assert_run_sound(ours.deps, run_id)


def test_an_operator_who_acts_where_it_makes_no_sense(ours: Engine) -> None:
    found = ended(ours, definition(probe("a")))
    told = attempts.told(ours, found["id"])
    for act in (control.retry, control.skip):
        with pytest.raises(ConflictError, match="rerun it"):
            act(ours.deps, ours.actor, Wanted(run_id=found["id"], path="a"))
    assert attempts.told(ours, found["id"]) == told


def test_outputs_of_the_run_that_cannot_be_resolved(ours: Engine) -> None:
    found = ended(ours, definition(probe("a", output={"x": 1}), outputs={"y": "{{a.y}}"}))
    assert (found["status"], found["error"]) == (
        "failed",
        {"code": "UNRESOLVED_REFERENCE", "message": found["error"]["message"], "step": None},
    )


@pytest.mark.parametrize("settings", [Settings(max_items=3)])
def test_more_items_than_a_container_may_have(database: Database, settings: Settings) -> None:
    ours = engine.make(database, settings=settings)
    body = {"nodes": [probe("x")], "edges": []}
    found = ended(ours, definition({"id": "a", "type": "parallel", "items": [1, 2, 3, 4], "body": body}))
    assert (found["status"], found["error"]["code"]) == ("failed", "VALIDATION")


def test_a_process_that_cannot_renew_its_leases_gives_its_steps_up(database: Database) -> None:
    gone = Database(database.url.render_as_string(hide_password=False))
    keeper = LeaseKeeper(db=gone, seconds=0.3)
    gone.transaction = lambda: (_ for _ in ()).throw(ConnectionError("away"))  # type: ignore[method-assign]
    given_up = keeper.hold(Held("00000000-0000-7000-8000-000000000000", 0, 1))
    assert given_up.wait(5)
    keeper.close()


def test_what_fails_is_seen_on_run_step_attempt_and_log(ours: Engine) -> None:
    found = ended(ours, definition(probe("a", does=DOWN)))
    step = run_views.step(ours.deps, ours.actor, found["id"], "a")
    (failed,) = [event for event in attempts.events(ours, found["id"]) if event.type == "step.failed"]
    seen = [found["error"], step["error"], step["attempt_log"][0]["error"], failed.data["error"]]
    assert {error["code"] for error in seen} == {"NETWORK"}
