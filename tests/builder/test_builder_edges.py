"""Nodes and edges as Python says them come out as the definition written by hand."""

from typing import Any

import pytest

from models.errors import InvalidError
from orchestrator import Workflow
from tests.support.definitions import compiled


def edges(workflow: Workflow) -> list[dict[str, str]]:
    found: list[dict[str, str]] = workflow.to_dict().get("edges", [])
    return found


def pairs(workflow: Workflow) -> list[str]:
    return [f"{edge['from']} {edge['to']}" for edge in edges(workflow)]


def five() -> tuple[Workflow, list[Any]]:
    workflow = Workflow("test")
    return workflow, [workflow.noop(name) for name in "abcde"]


def test_a_chain_joins_nodes_and_lists() -> None:
    workflow, (a, b, c, d, e) = five()
    assert (a >> b >> [c, d] >> e) is e
    assert compiled(workflow.to_dict()).digest == compiled(
        "{name: test, nodes: [{id: a, type: noop}, {id: b, type: noop}, {id: c, type: noop}, {id: d, type: noop}, "
        "{id: e, type: noop}], edges: [a >> b >> [c, d] >> e]}"
    ).digest


def test_a_chain_may_begin_with_a_list_and_have_two_in_a_row() -> None:
    workflow, (a, b, c, d, e) = five()
    [a, b] >> c >> [d, e]
    assert pairs(workflow) == ["a c", "b c", "c d", "c e"]
    workflow, (a, b, c, d, e) = five()
    a >> [b, c] >> (d, e)
    assert pairs(workflow) == ["a b", "a c", "b d", "b e", "c d", "c e"]


def test_every_handle_has_its_word() -> None:
    workflow = Workflow("test")
    big = workflow.condition("big", expression="inputs.n > 3")
    tier = workflow.router("tier", cases=[{"route": "hot", "when": "true"}], default="cold")
    own = workflow.node("probe", "own")
    end = workflow.noop("end")
    big.true >> tier
    big.false >> end
    tier.route("hot") >> own
    tier.otherwise >> end
    own.on_error >> end
    own.when("inputs.n > 5") >> end
    own.route("x") >> end
    assert edges(workflow) == [
        {"from": "big", "to": "tier", "route": "true"},
        {"from": "big", "to": "end", "route": "false"},
        {"from": "tier", "to": "own", "route": "hot"},
        {"from": "tier", "to": "end", "handle": "else"},
        {"from": "own", "to": "end", "handle": "error"},
        {"from": "own", "to": "end", "when": "inputs.n > 5"},
        {"from": "own", "to": "end", "route": "x"},
    ]


def test_handles_and_nodes_stand_side_by_side_in_a_list() -> None:
    workflow, (a, b, c, d, e) = five()
    [a.on_error, b.on_error, c] >> d >> e
    assert edges(workflow)[:3] == [
        {"from": "a", "to": "d", "handle": "error"},
        {"from": "b", "to": "d", "handle": "error"},
        {"from": "c", "to": "d"},
    ]


@pytest.mark.parametrize(
    "join",
    [
        lambda a, b: a >> "b",
        lambda a, b: a >> b.on_error,
        lambda a, b: a >> [b, "c"],
        lambda a, b: ["a"] >> b,
        lambda a, b: "a" >> b,
        lambda a, b: [a] >> [b],
        lambda a, b: list(a),
        lambda a, b: "field" in a,
    ],
)
def test_what_is_no_node_is_refused_by_python(join: Any) -> None:
    workflow, (a, b, *_) = five()
    with pytest.raises(TypeError):
        join(a, b)
    assert edges(workflow) == []


@pytest.mark.parametrize("join", [lambda a: a >> [], lambda a: [] >> a])
def test_an_empty_list_is_refused(join: Any) -> None:
    _, (a, *_) = five()
    with pytest.raises(InvalidError, match="joins nothing"):
        join(a)


def test_an_id_twice_is_told_by_the_validation() -> None:
    workflow = Workflow("test")
    workflow.noop("a") >> workflow.noop("a")
    with pytest.raises(InvalidError) as caught:
        workflow.validate()
    assert [(p.pointer, p.code) for p in caught.value.problems] == [
        ("/nodes/1/id", "DUPLICATE_ID"),
        ("/edges/0", "CYCLE"),
    ]
    assert caught.value.__notes__[0].startswith("  /nodes/1/id: DUPLICATE_ID: ")


def test_an_edge_to_another_body_is_refused_where_it_is_written() -> None:
    workflow = Workflow("test")
    first = workflow.noop("first")
    with workflow.loop("each", mode="for", count=3) as each:
        inner = workflow.noop("inner")
        with pytest.raises(InvalidError, match="first >> inner leaves its body") as caught:
            first >> inner
        with pytest.raises(InvalidError, match="<loop 'each'> in the workflow itself"):
            inner >> each
    assert [(p.pointer, p.code) for p in caught.value.problems] == [("/edges/0", "DANGLING_EDGE")]
    with pytest.raises(InvalidError, match="in another workflow"):
        first >> Workflow("other").noop("first")
    assert pairs(workflow) == []
