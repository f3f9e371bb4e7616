"""The class of a workflow and its reasons; what a long one is refused without."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.classify import classify
from orchestrator.core.scope import NodeSpec
from tests.support.definitions import TYPES, compiled, noop, workflow, wrong

EXAMPLE = Path(__file__).parents[2] / "examples" / "lead-qualification.yaml"
AGENT = {"id": "a", "type": "agent", "agent": "x"}
NONE = {"type": "none", "reason": "it can't be undone"}


def test_the_lead_qualification_is_medium() -> None:
    result = compiled(EXAMPLE.read_text())
    assert result.classification["class"] == "medium"
    assert result.estimated_cost_cents == 10
    assert [[result.plan.nodes[no].id for no in level] for level in result.plan.levels] == [
        ["capture"],
        ["enrich", "score"],
        ["route"],
        ["notify", "file"],
    ]
    assert not result.plan.short


@pytest.mark.parametrize(
    ("nodes", "fields", "expected"),
    [
        ([noop("a")], {}, "short"),
        ([noop("a"), {"id": "b", "type": "transform", "expression": "$"}], {"duration": "seconds"}, "short"),
        ([AGENT], {"duration": "seconds"}, "short"),
        ([noop("a")], {"duration": "minutes"}, "medium"),
        ([noop("a")], {"duration": "hours"}, "medium"),
        ([AGENT], {}, "medium"),
        ([{"id": "a", "type": "http", "url": "x"}], {"duration": "seconds"}, "medium"),
        ([noop("a", systems=["crm"])], {}, "medium"),
        ([noop("a", systems=["crm"]), noop("b", systems=["crm"])], {}, "medium"),
        ([noop("a", side_effects="internal", compensate=NONE)], {}, "short"),
        ([noop("a")], {"duration": "days"}, "long"),
        ([noop("a")], {"duration": "weeks"}, "long"),
        ([noop("a", systems=["crm"]), noop("b", systems=["esign"])], {}, "long"),
        ([noop("a", systems=["crm", "esign"])], {"duration": "seconds"}, "long"),
        ([noop("a", side_effects="external", idempotency_key="k", compensate=NONE)], {}, "long"),
    ],
)
def test_classes(nodes: list[dict[str, Any]], fields: dict[str, Any], expected: str) -> None:
    result = compiled(workflow(*nodes, **fields))
    assert result.classification["class"] == expected
    assert result.classification["reasons"]
    assert result.plan.short == (expected == "short")


def test_compensation_makes_it_long() -> None:
    raw = noop("a", compensate={"type": "noop"})
    node = NodeSpec(no=0, pointer="/nodes/0", id="a", raw=raw, type=TYPES["noop"], sound=True, owns_id=True)
    found = classify("seconds", [node])
    assert (found.name, found.reasons) == ("long", ("it has compensation: a",))


def test_every_reason_is_given() -> None:
    nodes = [
        noop("a", systems=["crm", "esign"]),
        noop("b", side_effects="external", idempotency_key="k", compensate=NONE),
    ]
    assert compiled(workflow(*nodes, duration="weeks")).classification["reasons"] == [
        "it is expected to take weeks",
        "it touches 2 external systems: crm, esign",
        "it makes an external commitment: b",
    ]


@pytest.mark.parametrize(
    ("fields", "lacking"),
    [
        ({}, ["idempotency_key", "compensate"]),
        ({"idempotency_key": "k"}, ["compensate"]),
        ({"compensate": NONE}, ["idempotency_key"]),
    ],
)
def test_a_long_workflow_needs_keys_and_compensation(fields: dict[str, Any], lacking: list[str]) -> None:
    data = workflow(noop("z"), noop("a", side_effects="external", **fields), duration="days")
    assert wrong(data) == [(f"/nodes/1/{field}", "LONG_WITHOUT_COMPENSATION") for field in lacking]
