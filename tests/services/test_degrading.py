"""`degrade`: a step that failed for good succeeds with what it gave last, or with a value."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from models.database import Database
from orchestrator.services import control, forking, overriding, restoring, run_views, runs
from orchestrator.services.paging import PageRequest
from orchestrator.services.reaching import Wanted
from orchestrator.services.run_views import RunFilter
from tests.support import attempts, engine
from tests.support.bodies import body, definition, ended, probe
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.soundness import assert_run_sound, assert_sound

FAILS = "{{inputs.does}}"
LAST: dict[str, Any] = {"use": "last_success"}
DOWN = {"does": {"fail": "NETWORK"}}


@pytest.fixture
def ours(database: Database) -> Engine:
    return engine.make(database)


def gives(value: Any) -> dict[str, Any]:
    return {"does": {"succeed": value}}


def shown(ours: Engine, run_id: str, path: str = "a") -> dict[str, Any]:
    return run_views.step(ours.deps, ours.actor, run_id, path)


def again(ours: Engine, **trigger: Any) -> dict[str, Any]:
    """One more run of the workflow `w`, sound, as a user sees it."""
    run_id = ours.run("w", **trigger)
    assert_run_sound(ours.deps, run_id)
    return run_views.run(ours.deps, ours.actor, run_id)


def completed(ours: Engine, run_id: str, path: str = "a") -> dict[str, Any]:
    (event,) = [
        event for event in attempts.events(ours, run_id) if event.type == "step.completed" and event.step == path
    ]
    found: dict[str, Any] = event.data
    return found


def test_a_failed_step_degrades_to_a_value(ours: Engine) -> None:
    nodes = [
        probe("a", does={"fail": "TOOL_FAILED"}, degrade={"value": {"rate": "{{inputs.rate}}", "n": 1}}),
        probe("b", output={"seen": "{{a.rate}}"}),
    ]
    found = ended(ours, definition(*nodes, edges=["a >> b"]), inputs={"rate": 7})
    assert (found["status"], found["degraded"], found["error"]) == ("success", True, None)
    assert found["outputs"] == {"b": {"seen": 7}}
    step = shown(ours, found["id"])
    assert (step["status"], step["degraded"], step["error"]) == ("success", True, None)
    assert step["output"] == {"rate": 7, "n": 1}
    assert [(entry["status"], entry["error"]["code"]) for entry in step["attempt_log"]] == [("success", "TOOL_FAILED")]
    data = completed(ours, found["id"])
    assert data["degraded"] is True
    assert data["error"] == {"code": "TOOL_FAILED", "message": "told to fail"}
    assert not shown(ours, found["id"], "b")["degraded"]


def test_it_comes_after_the_last_attempt(ours: Engine) -> None:
    retry = {"max_attempts": 3, "initial": 0}
    found = ended(ours, definition(probe("a", does={"fail": "NETWORK"}, retry=retry, degrade={"value": 1})))
    assert found["status"] == "success"
    statuses = [entry.status for entry in attempts.attempts(ours, found["id"], "a")]
    assert statuses == ["failed", "failed", "success"]
    assert attempts.step(ours, found["id"], "a").tries == 3


def test_it_comes_before_the_error_port(ours: Engine) -> None:
    nodes = [probe("a", does={"fail": "NETWORK"}, degrade={"value": 1}, fallback="b"), probe("b"), probe("c")]
    found = ended(ours, definition(*nodes, edges=["a >> c"]))
    assert ours.statuses(found["id"]) == {"a": "success", "b": "skipped", "c": "success"}


def test_the_last_success_of_the_same_node_is_used(ours: Engine) -> None:
    ours.publish(definition(probe("a", does=FAILS, degrade=LAST)))
    first = again(ours, inputs=gives({"n": 1}))
    second = again(ours, inputs=gives({"n": 2}))
    assert (first["degraded"], second["degraded"]) == (False, False)
    third = again(ours, inputs=DOWN)
    assert (third["status"], third["outputs"]) == ("success", {"a": {"n": 2}})
    assert completed(ours, third["id"])["last_success"]["run_id"] == second["id"]
    fourth = again(ours, inputs=DOWN)
    assert completed(ours, fourth["id"])["last_success"] == completed(ours, third["id"])["last_success"]
    listed = run_views.runs_page(ours.deps, ours.actor, RunFilter(), PageRequest(limit=10))
    assert [run["degraded"] for run in listed["items"]] == [True, True, False, False]


def test_without_a_last_success_the_failure_stands(ours: Engine) -> None:
    ours.publish(definition(probe("a", does=FAILS, degrade=LAST)))
    found = again(ours, inputs=DOWN)
    assert (found["status"], found["error"]["code"], found["degraded"]) == ("failed", "NETWORK", False)
    ours.publish({**definition(probe("a", does={"succeed": 1})), "name": "other"})
    ours.run("other")
    assert again(ours, inputs=DOWN)["status"] == "failed"


def test_what_a_value_stood_in_for_is_no_last_success(ours: Engine) -> None:
    ours.publish(definition(probe("a", does=FAILS, degrade={"value": "stale"})))
    assert again(ours, inputs=DOWN)["outputs"] == {"a": "stale"}
    execute(ours, "UPDATE workflow_version SET plan = replace(plan, :old, :new)", old='{"value": "stale"}',
            new='{"use": "last_success", "max_age": null}')  # fmt: skip
    fresh = Engine(deps=engine.make(ours.deps.db).deps, actor=ours.actor)
    assert again(fresh, inputs=DOWN)["status"] == "failed"


@pytest.mark.parametrize(("hours", "status"), [(47, "success"), (49, "failed")])
def test_a_last_success_may_be_too_old(ours: Engine, hours: int, status: str) -> None:
    ours.publish(definition(probe("a", does=FAILS, degrade={"use": "last_success", "max_age": "2d"})))
    first = again(ours, inputs=gives(1))
    age(ours, first["id"], hours)
    second = again(ours, inputs=DOWN)
    assert second["status"] == status
    if status == "success":  # what it passes on does not become younger by that
        age(ours, first["id"], 2)
        age(ours, second["id"], 2)
        then = completed(ours, second["id"])["last_success"]["at"]
        execute(ours, "UPDATE attempt SET error = replace(error, :then, :now) WHERE error IS NOT NULL", then=then,
                now=attempts.step(ours, first["id"], "a").finished_at.isoformat())  # fmt: skip
        assert again(ours, inputs=DOWN)["status"] == "failed"


def age(ours: Engine, run_id: str, hours: float) -> None:
    at = attempts.step(ours, run_id, "a").finished_at
    assert at is not None
    value = at - timedelta(hours=hours)
    execute(
        ours,
        "UPDATE step SET finished_at = :at WHERE run_id = :run",
        at=value.timestamp() if ours.deps.db.is_sqlite else value,
        run=run_id,
    )


def test_a_last_success_gets_no_younger_by_a_fork(ours: Engine) -> None:
    node = probe("a", does=FAILS, degrade=LAST | {"max_age": "1h"})
    run_id = str(ended(ours, definition(node, probe("b"), edges=["a >> b"]), inputs=gives(1))["id"])
    age(ours, run_id, 2)
    forked = forking.fork(ours.deps, ours.actor, forking.Wanted(run_id=run_id, from_step="b"))
    ours.send(forked.effects)
    ours.drain()
    assert again(ours, inputs=DOWN)["status"] == "failed"


def test_a_step_in_a_body_degrades_in_its_branch(ours: Engine) -> None:
    inner = probe("x", does="{{parallel.currentItem}}", degrade={"value": {"by": "{{parallel.index}}"}})
    items = [{"succeed": 1}, {"fail": "NETWORK"}]
    found = ended(ours, definition({"id": "each", "type": "parallel", "items": items, "body": body(inner)}))
    assert found["outputs"]["each"] == {"results": [1, {"by": 1}], "count": 2, "failed": 0}
    assert found["degraded"]


def test_a_container_degrades_as_a_whole(ours: Engine) -> None:
    inner = probe("x", does="{{parallel.currentItem}}")
    each = {"id": "each", "type": "parallel", "items": "{{inputs.items}}", "body": body(inner), "degrade": LAST}
    after = probe("b", output="{{size(each.results)}}")
    ours.publish(definition(each, after, edges=["each >> b"]))
    first = again(ours, inputs={"items": [{"succeed": 1}, {"succeed": 2}]})
    second = again(ours, inputs={"items": [{"fail": "NETWORK"}, {"succeed": 2, "sleep": 0}, {"succeed": 3}]})
    assert (second["status"], second["outputs"], second["degraded"]) == ("success", first["outputs"], True)
    assert shown(ours, second["id"], "each")["output"] == {"results": [1, 2], "count": 2, "failed": 0}


def test_an_inline_node_degrades(ours: Engine) -> None:
    nodes = [
        {"id": "a", "type": "set", "values": {"x": "{{inputs.missing}}"}, "degrade": {"value": {"x": 0}}},
        {"id": "b", "type": "router", "cases": [{"route": "r", "when": "inputs.missing"}], "degrade": {"value": 1}},
        probe("c"),
        probe("d"),
    ]
    edges = ["a >> b", {"from": "b", "to": "c", "route": "r"}, {"from": "b", "to": "d", "handle": "else"}]
    found = ended(ours, definition(*nodes, edges=edges))
    assert ours.statuses(found["id"]) == {"a": "success", "b": "success", "c": "skipped", "d": "success"}
    assert found["outputs"]["d"] == {"value": 1}


def time_out(ours: Engine, run_id: str) -> None:
    attempts.take(ours, "a")
    attempts.outrun(ours, run_id, "a")


def poison(ours: Engine, _run_id: str) -> None:
    for _ in range(3):
        attempts.lose(ours, attempts.take(ours, "a"))


@pytest.mark.parametrize(("end", "code"), [(time_out, "TIMEOUT"), (poison, "WORKER_LOST")])
def test_what_a_sweep_fails_degrades(ours: Engine, end: Callable[[Engine, str], None], code: str) -> None:
    ours.publish(definition(probe("a", degrade={"value": 1}), probe("b"), edges=["a >> b"]))
    run_id = ours.start("w")
    end(ours, run_id)
    ours.drain()
    assert (ours.row(run_id).status, completed(ours, run_id)["error"]["code"]) == ("success", code)
    assert_run_sound(ours.deps, run_id)


def test_an_expired_signal_degrades(database: Database) -> None:
    now = [1_700_000_000.0]
    ours = engine.make(database, clock=lambda: now[0])
    node = {"id": "a", "type": "signal", "signal": "s", "expires": 60, "degrade": {"value": {"none": True}}}
    ours.publish(definition(node))
    run_id = ours.run("w")
    now[0] += 61
    ours.sweep()
    assert (ours.row(run_id).status, completed(ours, run_id)["error"]["code"]) == ("success", "EXPIRED")
    assert_run_sound(ours.deps, run_id)


def test_a_called_run_that_fails_degrades(ours: Engine) -> None:
    ours.publish({**definition(probe("x", does={"fail": "TOOL_FAILED"})), "name": "called"})
    found = ended(ours, definition({"id": "a", "type": "subworkflow", "workflow": "called", "degrade": {"value": 1}}))
    assert (found["status"], found["outputs"]) == ("success", {"a": 1})


@pytest.mark.parametrize("code", ["CANCELLED", "REJECTED"])
def test_what_was_given_up_or_refused_is_not_degraded(ours: Engine, code: str) -> None:
    found = ended(ours, definition(probe("a", does={"fail": code}, degrade={"value": 1})))
    assert (found["status"], found["error"]["code"]) == ("failed", code)


def test_a_run_that_is_being_stopped_degrades_nothing(ours: Engine) -> None:
    kept = {"side_effects": "external", "idempotency_key": "k", "compensate": {"type": "none", "reason": "paid"}}
    ours.publish(definition(probe("a", does={"fail": "NETWORK"}, degrade={"value": 1}, **kept)))
    run_id = ours.start("w")
    claimed = attempts.take(ours, "a")
    runs.abort(ours.deps, ours.actor, run_id, "enough")
    attempts.end(ours, claimed)
    assert (ours.row(run_id).status, ours.statuses(run_id)) == ("aborted", {"a": "failed"})
    assert_run_sound(ours.deps, run_id)


def test_a_value_that_has_no_value_lets_the_failure_stand(ours: Engine) -> None:
    node = probe("a", does={"fail": "NETWORK"}, degrade={"value": "{{inputs.missing}}"})
    found = ended(ours, definition(node))
    assert (found["status"], found["error"]["code"]) == ("failed", "NETWORK")


def test_a_value_that_is_too_large_lets_the_failure_stand(ours: Engine) -> None:
    node = probe("a", does={"fail": "NETWORK"}, degrade={"value": "{{inputs.x}}"}, max_output_bytes=10)
    found = ended(ours, definition(node), inputs={"x": "x" * 20})
    assert (found["status"], found["error"]["code"]) == ("failed", "NETWORK")


def test_an_override_that_ends_the_retries_degrades(ours: Engine) -> None:
    node = probe("a", does={"fail": "NETWORK"}, retry={"max_attempts": 5, "initial": "1h"}, degrade={"value": 1})
    ours.publish(definition(node))
    run_id = ours.run("w")
    assert ours.statuses(run_id) == {"a": "retrying"}
    wanted = Wanted(run_id=run_id, path="a")
    ours.send(overriding.override(ours.deps, ours.actor, wanted, {"retry": {"policy": "never"}}))
    assert (ours.row(run_id).status, ours.statuses(run_id)) == ("success", {"a": "success"})
    assert attempts.told(ours, run_id)[-3:] == ["step.failed", "step.completed", "run.completed"]
    assert_run_sound(ours.deps, run_id)


def test_a_degraded_step_is_done_anew_by_a_rerun(ours: Engine) -> None:
    found = ended(ours, definition(probe("a", does=[{"fail": "NETWORK"}, {"succeed": 2}], degrade={"value": 1})))
    ours.send(control.rerun(ours.deps, ours.actor, Wanted(run_id=found["id"], path="a")))
    ours.drain()
    after = run_views.run(ours.deps, ours.actor, found["id"])
    assert (found["degraded"], after["degraded"], after["outputs"]) == (True, False, {"a": 2})
    assert_run_sound(ours.deps, found["id"])


def test_a_degraded_step_is_taken_over_as_one(ours: Engine) -> None:
    nodes = [probe("a", does=[DOWN["does"], {"succeed": 2}], degrade={"value": 1}), probe("b")]
    run_id = str(ended(ours, definition(*nodes, edges=["a >> b"]))["id"])
    taken = forking.Wanted(run_id=run_id, from_step="b")
    forked = forking.fork(ours.deps, ours.actor, taken)
    ours.send(forked.effects)
    ours.send(control.rerun(ours.deps, ours.actor, Wanted(run_id=run_id, path="a")))
    ours.drain()
    assert not shown(ours, run_id)["degraded"]
    back = restoring.Wanted(run_id=run_id, checkpoint="after:a")
    ours.send(restoring.restore(ours.deps, ours.actor, back))
    ours.drain()
    for each in (run_id, forked.run_id):
        assert (shown(ours, each)["degraded"], shown(ours, each)["output"]) == (True, 1)
        assert_run_sound(ours.deps, each)


def test_a_degraded_attempt_is_paid_as_a_failed_one(ours: Engine) -> None:
    does = {"fail": "TOOL_FAILED"}
    node = probe("a", does=does, estimated_cost_cents=3, degrade={"value": 1})
    found = ended(ours, definition(node), budget={"limit_cents": 10})
    assert (found["status"], found["cost_microcents"]) == ("success", 3_000_000)


def test_a_member_of_a_chord_degrades(ours: Engine) -> None:
    ours.deps.__dict__["chords"] = True
    members = [{"id": name, "type": "slow_probe", "does": {"fail": "NETWORK"}, "degrade": {"value": {name: 1}}}
               for name in ("a", "b")]  # fmt: skip
    found = ended(ours, definition(*members, probe("c"), edges=["[a, b] >> c"]))
    assert found["outputs"] == {"c": {"a": 1, "b": 1}}
    assert_sound(ours.deps)


def test_a_paused_run_degrades(ours: Engine) -> None:
    ours.publish(definition(probe("a", does={"fail": "NETWORK"}, degrade={"value": 1}), probe("b"), edges=["a >> b"]))
    run_id = ours.start("w")
    claimed = attempts.take(ours, "a")
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    attempts.end(ours, claimed)
    assert ours.statuses(run_id) == {"a": "success", "b": "queued"}
    assert_run_sound(ours.deps, run_id)
