"""Loops and parallels that go on with what they have done, after a retry or from an earlier position."""

from typing import Any

from models.database import Database
from orchestrator.services import control, restoring, run_views, sweeps
from orchestrator.services.claiming import Claimed
from orchestrator.services.reaching import Wanted as Step
from orchestrator.services.restoring import Wanted
from tests.support import attempts, engine, probes
from tests.support.bodies import body, definition, drive
from tests.support.engine import Engine
from tests.support.probes import probe
from tests.support.soundness import assert_run_sound

ONCE = [{"fail": "TOOL_FAILED"}, {"succeed": {"late": 1}}]
AGAIN: dict[str, Any] = {"retry": {"max_attempts": 2, "initial": "1ms"}}


def started(database: Database, *nodes: dict[str, Any], edges: tuple[str, ...] = ()) -> tuple[Engine, str]:
    ours = engine.make(database)
    ours.publish(definition(*nodes, edges=list(edges), on_failure="continue"))
    return ours, ours.start("w")


def loop(*nodes: dict[str, Any], edges: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {"id": "each", "type": "loop", "mode": "for", "count": 1, "body": body(*nodes, edges=list(edges)), **more}


def back(ours: Engine, run_id: str, seq: int) -> None:
    ours.send(restoring.restore(ours.deps, ours.actor, Wanted(run_id=run_id, checkpoint=str(seq))))
    assert_run_sound(ours.deps, run_id)


def succeeds(ours: Engine, run_id: str) -> None:
    drive(ours, run_id)
    assert ours.row(run_id).status == "success", ours.statuses(run_id)
    assert_run_sound(ours.deps, run_id)


def last(ours: Engine, run_id: str, type_: str, path: str) -> int:
    return max(e.seq for e in attempts.events(ours, run_id) if (e.type, e.step) == (type_, path))


def given(ours: Engine, run_id: str, path: str) -> Any:
    return run_views.step(ours.deps, ours.actor, run_id, path)["input"]


def joined_early(database: Database, **more: Any) -> tuple[Engine, str, Claimed]:
    """A loop that began with `b` alone, and whose one iteration has done a step; `a` is still at work."""
    early = loop(probe("kept"), probe("late", ONCE), edges=("kept >> late",), join="any", **more)
    sources = [probe("a", {"succeed": {"of": "a"}}), probe("b", {"succeed": {"of_b": True}})]
    ours, run_id = started(database, *sources, early, edges=("a >> each", "b >> each"))
    attempts.end(ours, attempts.take(ours, "b"))
    held = attempts.take(ours, "a")
    ours.drain()
    return ours, run_id, held


def test_a_loop_that_is_retried_is_given_what_it_began_with(database: Database) -> None:
    ours, run_id, held = joined_early(database)
    attempts.end(ours, held)
    ours.send(control.retry(ours.deps, ours.actor, Step(run_id=run_id, path="each")))
    succeeds(ours, run_id)
    assert attempts.step(ours, run_id, "each").live_in == "1"
    assert given(ours, run_id, "each[0]/kept") == {"of_b": True, "item": 0, "index": 0}


def test_a_loop_that_is_gone_back_to_is_given_what_it_began_with(database: Database) -> None:
    ours, run_id, held = joined_early(database, **AGAIN)
    attempts.end(ours, held)
    assert ours.statuses(run_id)["each"] == "retrying"
    seq = ours.row(run_id).seq
    succeeds(ours, run_id)
    back(ours, run_id, seq)
    succeeds(ours, run_id)
    assert attempts.step(ours, run_id, "each").live_in == "1"
    assert len(attempts.attempts(ours, run_id, "each[0]/kept")) == 1, "it had been done"


def test_a_step_that_stays_keeps_its_input_when_its_source_is_done_again(database: Database) -> None:
    inner = (probe("a", {"succeed": {"of": "a"}}), probe("b", ONCE), probe("c"), probe("d", ONCE))
    ours, run_id = started(
        database, loop(*inner, edges=("a >> c", "b >> c", "c >> d"), retry={"max_attempts": 3, "initial": "1ms"})
    )
    drive(ours, run_id)
    first = ours.row(run_id).seq
    succeeds(ours, run_id)
    assert len(attempts.attempts(ours, run_id, "each[0]/c")) == 1
    assert given(ours, run_id, "each[0]/c") == {"of": "a"}
    back(ours, run_id, last(ours, run_id, "step.completed", "each[0]/a"))
    succeeds(ours, run_id)
    back(ours, run_id, first)
    succeeds(ours, run_id)
    assert given(ours, run_id, "each[0]/c") == {"of": "a"}


def test_a_loop_behind_a_step_that_is_done_again_begins_anew(database: Database) -> None:
    within = {**loop(probe("kept"), probe("late", ONCE), edges=("kept >> late",)), "id": "inner"}
    sources = [probe("a", {"succeed": {"of": "a"}}), probe("b", ONCE)]
    ours, run_id = started(database, loop(*sources, within, edges=("a >> inner", "b >> inner"), **AGAIN))
    succeeds(ours, run_id)
    kept = "each[0]/inner[0]/kept"
    assert given(ours, run_id, kept) == {"of": "a", "late": 1, "item": 0, "index": 0}
    assert len(attempts.attempts(ours, run_id, kept)) == 2
    assert attempts.step(ours, run_id, kept).idempotency_key == f"{run_id}:{kept}:r1"
    back(ours, run_id, last(ours, run_id, "branch.reopened", "each"))
    succeeds(ours, run_id)


def test_a_loop_that_waits_to_be_retried_goes_back_into_its_iteration(database: Database) -> None:
    ours, run_id = started(database, loop(probe("x"), probe("y", ONCE), edges=("x >> y",), **AGAIN))
    ours.drain()
    assert ours.statuses(run_id)["each"] == "retrying"
    back(ours, run_id, last(ours, run_id, "step.completed", "each[0]/x"))
    assert ours.statuses(run_id)["each"] == "waiting", "its iteration is under way again"
    succeeds(ours, run_id)


def test_a_loop_amid_its_second_attempt_goes_back_to_before_it(database: Database) -> None:
    ours, run_id = started(database, loop(probe("x", ONCE), **AGAIN))
    ours.drain()
    seq = ours.row(run_id).seq
    fire(ours)
    held = attempts.take(ours, "each[0]/x")
    back(ours, run_id, seq)
    attempts.end(ours, held)
    succeeds(ours, run_id)


def fire(ours: Engine) -> None:
    """The one timer fires, and the container whose retry it is begins its next attempt."""
    ours.send(sweeps.wake(ours.deps, ours.timers.pop()))
    message, _ = ours.inbox.pop()
    ours.carrier.carry(message)


def test_an_iteration_that_was_cut_short_is_done_again(database: Database) -> None:
    ours, run_id = started(database, loop(probe("x"), timeout=100, **AGAIN))
    attempts.outrun(ours, run_id, "each")
    succeeds(ours, run_id)
    back(ours, run_id, last(ours, run_id, "step.waiting", "each"))
    succeeds(ours, run_id)


def test_a_parallel_fails_at_once_by_a_branch_that_had_failed(database: Database) -> None:
    inner = body(probe("x", {"fail": "TOOL_FAILED"}, when="index == 0"), probe("y", when="index == 1"))
    each = {"id": "each", "type": "parallel", "count": 2, "body": inner}
    ours, run_id = started(database, each)
    held = attempts.take(ours, "each[1]/y")
    ours.drain()
    assert ours.row(run_id).status == "failed"
    back(ours, run_id, last(ours, run_id, "branch.failed", "each"))
    attempts.end(ours, held)
    probes.ends(ours, run_id, "failed")
    assert ours.statuses(run_id)["each[1]/y"] in ("skipped", "aborted")
