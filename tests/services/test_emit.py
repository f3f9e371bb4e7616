"""`emit` nodes: events of a workflow's own in its run's log, once for each success."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.core import event_types
from orchestrator.core.mermaid import draw
from orchestrator.services import control, rebuilding
from orchestrator.services.reaching import Wanted
from orchestrator.settings import Settings
from tests.support import attempts
from tests.support.definitions import TYPES, compiled, noop, workflow, wrong
from tests.support.engine import Engine
from tests.support.probes import ended, ends, probe, publish


def emit(**fields: Any) -> dict[str, Any]:
    return {"id": "tell", "type": "emit", "event": "deal.signed", **fields}


def own(ours: Engine, run_id: str) -> list[tuple[str, str | None, Any]]:
    """A run's own events."""
    told = attempts.events(ours, run_id)
    return [(event.type, event.step, event.data) for event in told if event_types.is_own(event.type)]


def test_an_event_stands_in_the_log_right_after_its_steps_end(database: Database) -> None:
    node = emit(data={"amount": "{{inputs.amount}}", "text": "of {{inputs.amount}}"})
    ours = publish(database, node, probe("after"), edges=["tell >> after"])
    run_id = ended(ours, inputs={"amount": 7})
    data = {"amount": 7, "text": "of 7"}
    assert own(ours, run_id) == [("deal.signed", "tell", data)]
    told = attempts.told(ours, run_id)
    assert told[told.index("deal.signed") - 1] == "step.completed"
    (attempt,) = attempts.attempts(ours, run_id, "tell")
    assert attempt.output == {"event": "deal.signed", "data": data}


def test_without_data_it_tells_its_input(database: Database) -> None:
    ours = publish(database, probe("before", {"succeed": {"n": 1}}), emit(), edges=["before >> tell"])
    assert own(ours, ended(ours)) == [("deal.signed", "tell", {"n": 1})]


def test_each_branch_tells(database: Database) -> None:
    body = {"nodes": [emit(data="{{parallel.index}}")]}
    ours = publish(database, {"id": "each", "type": "parallel", "count": 3, "body": body})
    assert sorted(own(ours, ended(ours))) == [("deal.signed", f"each[{n}]/tell", n) for n in range(3)]


def test_one_that_travels_tells_once(database: Database) -> None:
    """A step behind more than a hundred inline ones is a message, and claimed like any other."""
    nodes = [noop(f"n{no}") for no in range(130)]
    chain = " >> ".join([node["id"] for node in nodes] + ["tell"])
    ours = publish(database, *nodes, emit(data=1), edges=[chain])
    assert own(ours, ended(ours)) == [("deal.signed", "tell", 1)]


def test_a_skipped_one_tells_nothing(database: Database) -> None:
    ours = publish(database, emit(data=1, when="false"))
    assert own(ours, ended(ours)) == []


def test_a_rerun_tells_again_and_a_completion_by_hand_does_not(database: Database) -> None:
    ours = publish(database, emit(data="{{inputs.data?}}"))
    run_id = ended(ours, inputs={"data": 1})
    wanted = Wanted(run_id=run_id, path="tell", reason="again")
    ours.send(control.rerun(ours.deps, ours.actor, wanted))
    ends(ours, run_id, "success")
    assert len(own(ours, run_id)) == 2
    ours = publish(database, emit(data="{{inputs.absent}}"))
    run_id = ended(ours, "failed")
    ours.send(control.complete(ours.deps, ours.actor, Wanted(run_id=run_id, path="tell"), {"by": "hand"}))
    ends(ours, run_id, "success")
    assert own(ours, run_id) == []


def test_what_is_too_large_fails_the_step_and_is_not_told(database: Database) -> None:
    ours = publish(database, emit(data="{{inputs.text}}"), settings=Settings(max_output_bytes=300))
    run_id = ended(ours, "failed", inputs={"text": "x" * 300})
    assert own(ours, run_id) == []
    assert attempts.attempts(ours, run_id, "tell")[-1].error["code"] == "OUTPUT_TOO_LARGE"


def test_a_nodes_own_limit_goes_before_the_setting(database: Database) -> None:
    node = emit(data="{{inputs.text}}", max_output_bytes=1000)
    ours = publish(database, node, settings=Settings(max_output_bytes=300))
    assert len(own(ours, ended(ours, inputs={"text": "x" * 300}))) == 1


def test_rebuilding_changes_nothing(database: Database) -> None:
    ours = publish(database, emit(data=1), probe("after"), edges=["tell >> after"])
    run_id = ended(ours)
    assert rebuilding.carry_out(ours.deps, run_id) == []


@pytest.mark.parametrize("event", ["deal.signed", "a.b.c", "x1.y-2_z", "a." + "b" * 62])
def test_names_that_are_taken(event: str) -> None:
    plan = compiled(workflow(emit(event=event))).plan
    assert plan.nodes[0].inline


@pytest.mark.parametrize(
    "event",
    [
        *("run.completed", "step.completed", "stream.chunk", "approval.requested", "variable.set"),
        *("override.applied", "checkpoint.created", "agent.online", "gateway.unhealthy", "webhook.dead_lettered"),
        *("branch.started", "container.opened", "signal.received", "run.own", "schedule.refused"),
        *("plain", "Deal.signed", "deal.", ".signed", "a..b"),
        *("deal signed", "deal.signed\n", "1.2", "{{inputs.event}}", "a." + "b" * 63, "d\u00e9al.x"),
    ],
)
def test_names_that_are_refused(event: str) -> None:
    assert wrong(workflow(emit(event=event))) == [("/nodes/0/event", "INVALID_VALUE")]


def test_data_is_stored_and_names_no_env() -> None:
    node = emit(data={"key": "{{env.TOKEN}}"})
    assert wrong(workflow(node), env_allow=["TOKEN"]) == [("/nodes/0/data/key", "UNRESOLVED_REFERENCE")]


def test_it_is_short_and_drawn_as_a_flag() -> None:
    found = compiled(workflow(emit()))
    assert found.classification["class"] == "short"
    assert "shape: flag" in draw(found.plan, TYPES)
