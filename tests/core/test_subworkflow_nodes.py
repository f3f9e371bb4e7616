"""A subworkflow node as it is written: its fields, its class, its cost, how it is drawn."""

from typing import Any

import pytest

from orchestrator.core.mermaid import draw
from orchestrator.core.plan import Plan
from tests.support.definitions import TYPES, compiled, noop, workflow, wrong


def calling(**fields: Any) -> dict[str, Any]:
    return {"id": "it", "type": "subworkflow", "workflow": "other", **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"version": 3, "wait": False, "inputs": {}},
        {
            "inputs": {"a": "{{inputs.x}}", "b": ["{{run.id}}", 1]},
            "timeout": "1h",
            "retry": {"max_attempts": 2},
        },
    ],
)
def test_what_is_taken(fields: dict[str, Any]) -> None:
    plan = compiled(workflow(calling(**fields))).plan
    assert plan.calls
    assert plan.nodes[0].calls
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"version": 0}, "version", "INVALID_VALUE"),
        ({"version": "1"}, "version", "INVALID_TYPE"),
        ({"wait": "no"}, "wait", "INVALID_TYPE"),
        ({"inputs": []}, "inputs", "INVALID_TYPE"),
        ({"workflow": ""}, "workflow", "INVALID_VALUE"),
        ({"input": {}}, "input", "UNKNOWN_FIELD"),
        ({"inputs": {"x": "{{nobody.y}}"}}, "inputs/x", "UNRESOLVED_REFERENCE"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], pointer: str, code: str) -> None:
    assert wrong(workflow(calling(**fields))) == [(f"/nodes/0/{pointer}", code)]


def test_the_workflow_must_be_named() -> None:
    node = {"id": "it", "type": "subworkflow"}
    assert wrong(workflow(node)) == [("/nodes/0/workflow", "MISSING_FIELD")]


def test_inputs_are_stored_and_name_no_env() -> None:
    node = calling(inputs={"key": "{{env.TOKEN}}"})
    assert wrong(workflow(node), env_allow=["TOKEN"]) == [("/nodes/0/inputs/key", "UNRESOLVED_REFERENCE")]


@pytest.mark.parametrize(
    ("nodes", "cents", "lower"),
    [
        ([noop("a")], 0, False),
        ([calling()], 0, True),
        ([calling(estimated_cost_cents=7)], 7, False),
        ([calling(estimated_cost_cents=7), {**calling(), "id": "more"}], 7, True),
    ],
)
def test_a_cost_that_nobody_knows_makes_the_estimate_a_lower_bound(
    nodes: list[dict[str, Any]], cents: int, lower: bool
) -> None:
    found = compiled(workflow(*nodes))
    assert (found.estimated_cost_cents, found.estimate_is_lower_bound) == (cents, lower)


@pytest.mark.parametrize(("duration", "expected"), [(None, "medium"), ("seconds", "short"), ("days", "long")])
def test_its_class(duration: str | None, expected: str) -> None:
    fields = {} if duration is None else {"duration": duration}
    assert compiled(workflow(calling(), **fields)).classification["class"] == expected


def test_it_is_drawn_as_a_subroutine() -> None:
    assert 'it[["it<br/>subworkflow"]]' in draw(compiled(workflow(calling())).plan, TYPES)
