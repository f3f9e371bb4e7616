"""What a state comes to when a run goes on from it, and how a state is read from events."""

from typing import Any

from models.states import StepStatus
from orchestrator.core.aims import aim
from orchestrator.core.checkpoints import checkpoints, mistake
from orchestrator.core.containers_told import spans
from orchestrator.core.rebuild import rebuild
from tests.core.test_replay import at, log
from tests.support.definitions import compiled

CHAIN: dict[str, Any] = {
    "name": "chain",
    "nodes": [{"id": name, "type": "noop"} for name in "abc"],
    "edges": ["a >> b >> c"],
}
LOOP: dict[str, Any] = {
    "name": "loop",
    "nodes": [
        {"id": "each", "type": "parallel", "count": 2, "body": {"nodes": [{"id": "x", "type": "noop"}]}},
    ],
}
BEGUN = (("run.created", None, {"variables": {}}), ("run.started",))


def test_what_is_decided_is_kept_and_what_is_under_way_begins_anew() -> None:
    plan = compiled(CHAIN).plan
    state = rebuild(
        plan, log(*BEGUN, ("step.completed", "a", at(1, 1, edges="1")), ("step.queued", "b", at(0, 0)))
    )
    aims = aim(plan, state)
    assert list(aims.kept) == [0]
    assert sorted(aims.anew) == [1, 2]
    assert [(branch, [d.target for d in told]) for branch, told in aims.scopes] == [(0, [1])]
    assert aim(plan, state, left={1}).left == {1}


def test_a_step_is_done_again_with_all_behind_it() -> None:
    plan = compiled(CHAIN).plan
    ends = [("step.completed", name, at(1, 1, edges="1" if name != "c" else "")) for name in "abc"]
    aims = aim(plan, rebuild(plan, log(*BEGUN, *ends)), again=[1])
    assert (list(aims.kept), sorted(aims.anew)) == ([0], [1, 2])


def test_amid_a_taking_back_nothing_is_kept_that_hangs_in_the_air() -> None:
    plan = compiled(CHAIN).plan
    ends = [("step.completed", name, at(1, 1, edges="1" if name != "c" else "")) for name in "abc"]
    aims = aim(plan, rebuild(plan, log(*BEGUN, *ends, ("step.reset", "a", at(1, 0, rerun=1)))))
    assert (aims.kept, sorted(aims.anew)) == ({}, [0, 1, 2])


def test_branches_that_go_on_are_scopes_of_their_own() -> None:
    plan = compiled(LOOP).plan
    state = rebuild(
        plan,
        log(
            *BEGUN,
            ("container.opened", "each", {"total": 2}),
            ("step.waiting", "each", at(1, 0, reason="branches")),
            ("branch.started", "each", {"position": 0, "count": 2, "number": 1}),
            ("step.completed", "each[0]/x", at(1, 1, edges="")),
            ("branch.completed", "each", {"position": 0}),
        ),
    )
    assert (state.containers[0].opened, state.containers[0].ended) == (2, 1)
    assert [(b.status, b.open_steps) for b in state.branches.values()] == [("success", 0), ("open", 1)]
    aims = aim(plan, state)
    assert [branch for branch, _ in aims.scopes] == [0, 2]
    assert list(aims.parked) == [0]
    assert aims.kept[plan.step_of(1, 1)].status is StepStatus.SUCCESS
    assert list(aims.anew) == [plan.step_of(2, 1)]


def test_steps_that_are_in_no_plan_are_left_out() -> None:
    plan = compiled(CHAIN).plan
    state = rebuild(plan, log(*BEGUN, ("step.completed", "a:compensate", at(1, 1))))
    assert len(state.steps) == 3
    assert "a:compensate" in state.replayed.steps


def test_branches_are_told_as_spans() -> None:
    assert spans({0: "success", 1: "success", 2: "failed", 3: "success"}) == {
        "success": [[0, 1], [3, 3]],
        "failed": [[2, 2]],
    }


def test_each_end_of_a_step_has_a_name_of_its_own() -> None:
    told = log(
        ("step.completed", "a", at(1, 1)),
        ("step.completed", "a[0]/b", at(1, 1)),
        ("checkpoint.created", None, {"name": "mine"}),
        ("step.failed", "a", at(2, 1)),
        ("step.completed", "b", at(1, 1, copied=3)),
    )
    assert [(found.name, found.seq, found.automatic) for found in checkpoints(told)] == [
        ("after:a", 1, True),
        ("mine", 3, False),
        ("after:a:2", 4, True),
    ]
    assert mistake("v1.2_ok-then") is None
    assert mistake("12") is not None
