"""Edges: ends, handles, routes, chains, joins, cycles, reachability."""

from typing import Any

import pytest

from orchestrator.core.plan import Handle
from tests.support.definitions import compiled, noop, problems, workflow, wrong

IS_IT = {"id": "b", "type": "condition", "expression": "inputs.x == 1"}
ROUTER = {
    "id": "r",
    "type": "router",
    "cases": [{"route": "hot", "when": "inputs.x == 1"}],
    "default": "cold",
}


def edges_of(*nodes: dict[str, Any], edges: Any) -> list[tuple[str, str, str]]:
    result = compiled(workflow(*nodes, edges=edges))
    return [(edge["from"], edge["to"], edge["handle"]) for edge in result.definition["edges"]]


@pytest.mark.parametrize(
    ("chain", "pairs"),
    [
        ("a >> b", ["ab"]),
        ("a>>b>>c", ["ab", "bc"]),
        ("a >> [b, c] >> d", ["ab", "ac", "bd", "cd"]),
        ("[a, b] >> [c , d]", ["ac", "ad", "bc", "bd"]),
        (" a  >>\n [b] ", ["ab"]),
    ],
)
def test_chains(chain: str, pairs: list[str]) -> None:
    nodes = [noop(name) for name in "abcd"]
    assert edges_of(*nodes, edges=[chain]) == [(pair[0], pair[1], "source") for pair in pairs]


@pytest.mark.parametrize(
    "chain", ["a", "", ">>", "a >>", "a >> >> b", "a >> []", "a >> [b", "a >> b c", "a > b", "a >> [[b]]"]
)
def test_chains_that_cannot_be_read(chain: str) -> None:
    assert wrong(workflow(noop("a"), noop("b"), edges=[chain])) == [("/edges/0", "INVALID_VALUE")]


@pytest.mark.parametrize(
    ("edge", "place", "code"),
    [
        ({"to": "b"}, "/from", "MISSING_FIELD"),
        ({"from": "a"}, "/to", "MISSING_FIELD"),
        ({"from": "a", "to": "b", "label": "x"}, "/label", "UNKNOWN_FIELD"),
        ({"from": 1, "to": "b"}, "/from", "INVALID_TYPE"),
        ({"from": "a", "to": "z"}, "/to", "DANGLING_EDGE"),
        ({"from": "z", "to": "b"}, "/from", "DANGLING_EDGE"),
        ("a >> z", "", "DANGLING_EDGE"),
        ({"from": "a", "to": "b", "handle": "succes"}, "/handle", "INVALID_VALUE"),
        ({"from": "a", "to": "b", "handle": "condition"}, "/when", "MISSING_FIELD"),
        ({"from": "a", "to": "b", "handle": "source", "when": "true"}, "/when", "INVALID_VALUE"),
        ({"from": "a", "to": "b", "handle": "error", "when": "true"}, "/when", "INVALID_VALUE"),
        ({"from": "a", "to": "b", "handle": "else", "when": "true"}, "/when", "INVALID_VALUE"),
        ({"from": "a", "to": "b", "when": "inputs.x =="}, "/when", "INVALID_EXPRESSION"),
        ({"from": "a", "to": "b", "when": "1 + 1"}, "/when", "INVALID_EXPRESSION"),
        ({"from": "a", "to": "b", "when": "env.X == ''"}, "/when", "UNRESOLVED_REFERENCE"),
        ({"from": "a", "to": "b", "when": "b.x == 1"}, "/when", "UNRESOLVED_REFERENCE"),
        ({"from": "r", "to": "b", "handle": "router"}, "/route", "MISSING_FIELD"),
        ({"from": "r", "to": "b", "handle": "router", "route": "warm"}, "/route", "INVALID_VALUE"),
        ({"from": "r", "to": "b", "route": ["hot"]}, "/route", "INVALID_TYPE"),
        ({"from": "a", "to": "b", "handle": "router", "route": "hot"}, "/route", "INVALID_VALUE"),
        ({"from": "r", "to": "b", "handle": "error", "route": "hot"}, "/route", "INVALID_VALUE"),
        (5, "", "INVALID_TYPE"),
    ],
)
def test_wrong_edges(edge: Any, place: str, code: str) -> None:
    assert wrong(workflow(noop("a"), noop("b"), ROUTER, edges=[edge])) == [(f"/edges/0{place}", code)]


def test_when_and_route_together_are_refused() -> None:
    edge = {"from": "r", "to": "b", "when": "true", "route": "hot"}
    assert wrong(workflow(noop("b"), ROUTER, edges=[edge])) == [("/edges/0/route", "INVALID_VALUE")]


def test_an_edge_twice_is_refused() -> None:
    edges = ["a >> b", {"from": "a", "to": "b"}]
    assert wrong(workflow(noop("a"), noop("b"), edges=edges)) == [("/edges/1", "INVALID_VALUE")]


def test_handles_are_made_explicit() -> None:
    nodes = [noop("a"), IS_IT, ROUTER, noop("c")]
    edges = [
        "a >> b",
        {"from": "b", "to": "c", "handle": "router", "route": True},
        {"from": "b", "to": "r", "route": "false"},
        {"from": "r", "to": "c", "when": "inputs.y"},
        {"from": "a", "to": "c", "handle": "error"},
    ]
    result = compiled(workflow(*nodes, edges=edges))
    assert [(edge["handle"], edge.get("route"), edge.get("when")) for edge in result.definition["edges"]] == [
        ("source", None, None),
        ("router", "true", None),
        ("router", "false", None),
        ("condition", None, "inputs.y"),
        ("error", None, None),
    ]
    assert result.plan.node("a").error_port


def test_fallback_is_an_error_edge() -> None:
    nodes = [noop("a", fallback="c"), noop("b"), noop("c")]
    result = compiled(workflow(*nodes, edges=["a >> b"]))
    assert result.definition["edges"][1] == {"from": "a", "to": "c", "handle": "error"}
    assert "fallback" not in result.definition["nodes"][0]
    assert [edge.handle for edge in result.plan.node("a").out] == [Handle.SOURCE, Handle.ERROR]
    written_out = [{"from": "a", "to": "c", "handle": "error"}, "a >> b"]
    assert edges_of(*nodes, edges=written_out) == [("a", "c", "error"), ("a", "b", "source")]


def test_an_error_edge_contradicts_a_port_that_is_switched_off() -> None:
    nodes = [noop("a", error_port=False), noop("b")]
    edges = [{"from": "a", "to": "b", "handle": "error"}]
    assert wrong(workflow(*nodes, edges=edges)) == [("/nodes/0/error_port", "INVALID_VALUE")]


def test_more_than_the_in_edges_can_never_live() -> None:
    nodes = [noop("a"), noop("b"), noop("c", join={"at_least": 3})]
    assert wrong(workflow(*nodes, edges=["[a, b] >> c"])) == [("/nodes/2/join/at_least", "INVALID_VALUE")]
    nodes[2]["join"] = {"at_least": 2}
    assert compiled(workflow(*nodes, edges=["[a, b] >> c"])).plan.node("c").need == 2


@pytest.mark.parametrize(
    ("edges", "pointer", "names"),
    [
        (["a >> a"], "/edges/0", ["a"]),
        (["a >> b >> c >> a"], "/edges/0", ["a", "b", "c"]),
        (["d >> a", "a >> b", "b >> a", "b >> c"], "/edges/2", ["a", "b"]),
    ],
)
def test_a_cycle_names_its_nodes_and_one_of_its_edges(
    edges: list[str], pointer: str, names: list[str]
) -> None:
    (problem,) = problems(workflow(*(noop(name) for name in "abcd"), edges=edges))
    assert (problem.pointer, problem.code) == (pointer, "CYCLE")
    assert " >> ".join([*names, names[0]]) in problem.message


def test_each_knot_of_cycles_is_told() -> None:
    edges = ["a >> b >> a", "c >> d >> c", "a >> c"]
    assert wrong(workflow(*(noop(name) for name in "abcd"), edges=edges)) == [
        ("/edges/0", "CYCLE"),
        ("/edges/1", "CYCLE"),
    ]


def test_a_cycle_of_ten_thousand_nodes_is_told_shortly() -> None:
    names = [f"n{n}" for n in range(10_000)]
    chain = " >> ".join([*names, names[0]])
    (problem,) = problems(workflow(*map(noop, names), edges=[chain]))
    assert problem.code == "CYCLE"
    assert len(problem.message) < 1_000


def test_a_node_that_no_edge_can_bring_to_life() -> None:
    edges = [
        {"from": "b", "to": "c", "route": True},
        {"from": "b", "to": "c", "route": False},
        {"from": "b", "to": "d", "handle": "else"},
        "d >> e",
    ]
    nodes = [IS_IT, noop("c"), noop("d"), noop("e")]
    assert wrong(workflow(*nodes, edges=edges)) == [("/nodes/2", "UNREACHABLE")]
    assert compiled(workflow(*nodes, edges=edges[1:])).plan.levels == ((0,), (1, 2), (3,))


def test_else_of_a_router_is_dead_for_good_only_where_a_route_is_always_selected() -> None:
    router = {"id": "r", "type": "router", "cases": [{"route": "hot", "when": "inputs.x > 1"}]}
    edges = [{"from": "r", "to": "a", "route": "hot"}, {"from": "r", "to": "b", "handle": "else"}]
    nodes = [noop("a"), noop("b")]
    assert compiled(workflow(router, *nodes, edges=edges)).plan.levels == ((0,), (1, 2))
    assert wrong(workflow(router | {"default": "hot"}, *nodes, edges=edges)) == [("/nodes/2", "UNREACHABLE")]


def test_a_wrong_edge_makes_no_other_mistakes_behind_it() -> None:
    nodes = [noop("a"), {"id": "b", "type": "set", "values": {"x": "{{a.y}}"}}]
    edges = [{"from": "a", "to": "b", "handle": "soruce"}]
    assert wrong(workflow(*nodes, edges=edges)) == [("/edges/0/handle", "INVALID_VALUE")]
