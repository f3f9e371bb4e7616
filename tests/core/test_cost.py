"""The estimate: of what excludes each other the dearest, never below what a run can really cost."""

import time
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.plan import Handle, Plan, PlanNode
from tests.support.definitions import compiled, workflow

ROUTER = {"type": "router", "cases": [{"route": "x", "when": "inputs.x"}], "default": "y"}


def node(name: str, cents: int = 0, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "noop", "estimated_cost_cents": cents, **fields}


def estimate(*nodes: dict[str, Any], edges: Any = ()) -> int:
    return compiled(workflow(*nodes, edges=edges)).estimated_cost_cents


def test_all_that_runs_is_summed_up() -> None:
    assert estimate(node("a", 1), node("b", 2), node("c", 4), edges=["a >> [b, c]"]) == 7


def test_without_an_estimate_the_types_default_counts() -> None:
    assert (
        estimate(
            {"id": "a", "type": "agent", "agent": "x"}, {"id": "b", "type": "transform", "expression": "$"}
        )
        == 1
    )


def test_of_routes_the_dearest_counts_with_all_behind_it() -> None:
    nodes = [node("r", 1, **ROUTER), node("a", 10), node("b", 20), node("c", 5), node("d", 100)]
    edges = [
        {"from": "r", "to": "a", "route": "x"},
        {"from": "r", "to": "b", "route": "y"},
        "a >> c",
        "[b, c] >> d",
    ]
    assert estimate(*nodes, edges=edges) == 1 + 20 + 100
    assert estimate(*nodes, edges=[*edges, {"from": "r", "to": "c", "route": "x"}]) == 1 + 20 + 100


def test_routes_of_different_routers_add_up() -> None:
    nodes = [
        node("r", **ROUTER),
        node("s", **ROUTER),
        *(node(name, cents) for name, cents in zip("abcd", (1, 2, 3, 4), strict=True)),
    ]
    edges = [{"from": source, "to": to, "route": route} for source, to, route in ("rax", "rby", "scx", "sdy")]
    assert estimate(*nodes, edges=edges) == 2 + 4


def test_failure_and_success_exclude_each_other() -> None:
    nodes = [node("a", 1, fallback="f"), node("b", 5), node("f", 7), node("g", 1), node("z", 10)]
    assert estimate(*nodes, edges=["a >> b >> z", "f >> g >> z"]) == 1 + 8 + 10


def test_else_excludes_conditions_which_may_all_hold() -> None:
    edges = [
        {"from": "a", "to": "b", "when": "inputs.x"},
        {"from": "a", "to": "c", "when": "inputs.y"},
        {"from": "a", "to": "d", "handle": "else"},
        {"from": "a", "to": "e"},
    ]
    nodes = [node("a"), node("b", 4), node("c", 5), node("e", 100)]
    assert estimate(*nodes, node("d", 7), edges=edges) == 9 + 100
    assert estimate(*nodes, node("d", 11), edges=edges) == 11 + 100


def test_branches_of_a_condition() -> None:
    condition = {"type": "condition", "expression": "inputs.x == 1"}
    edges = [{"from": "a", "to": "b", "route": True}, {"from": "a", "to": "c", "route": False}]
    assert estimate(node("a", **condition), node("b", 4), node("c", 5), edges=edges) == 5


def test_a_deep_and_tangled_graph_takes_well_under_a_second() -> None:
    from orchestrator.core import cost
    from orchestrator.core.choices import find_choices
    from orchestrator.core.graph import build
    from orchestrator.core.scope import EdgeSpec

    size = 10_000
    edges = [EdgeSpec(pointer="", source=no, target=no + 1) for no in range(size - 1)]
    edges += [EdgeSpec(pointer="", source=0, target=no, handle=Handle.ERROR) for no in range(2, size)]
    edges += [
        EdgeSpec(pointer="", source=no, target=size - no, route=str(no), handle=Handle.ROUTER)
        for no in range(1, size // 2)
    ]
    began = time.process_time()
    assert cost.dearest([1] * size, find_choices(build(size, edges), edges)) <= size
    assert time.process_time() - began < 3


@st.composite
def priced(draw: st.DrawFn) -> dict[str, Any]:
    """Up to 7 nodes with all handles but conditions on one side, each node with a price."""
    size = draw(st.integers(1, 7))
    nodes = [
        node(f"n{no}", draw(st.integers(0, 9)), **draw(st.sampled_from([{}, ROUTER]))) for no in range(size)
    ]
    edges: dict[str, dict[str, Any]] = {}
    for target in range(1, size):
        for source in draw(st.sets(st.integers(0, target - 1), max_size=2)):
            handles: list[dict[str, Any]] = [{}, {"handle": "error"}, {"when": "inputs.z"}]
            handles += (
                [{"route": "x"}, {"route": "y"}]
                if nodes[source]["type"] == "router"
                else [{"handle": "else"}]
            )
            edge = {"from": f"n{source}", "to": f"n{target}", **draw(st.sampled_from(handles))}
            edges[str(edge)] = edge
    return workflow(*nodes, edges=list(edges.values()))


def dearest_run(plan: Plan) -> int:
    """What the dearest of all possible runs costs: each node may fail, select a route, have conditions hold."""
    return max(_cost(plan, choices) for choices in product(*(_ends(node) for node in plan.nodes)))


def _ends(node: PlanNode) -> list[frozenset[int]]:
    """Which out-edges may live together."""
    by_handle = {
        handle: [no for no, edge in enumerate(node.out) if edge.handle is handle] for handle in Handle
    }
    failed = frozenset(by_handle[Handle.ERROR])
    routes = {edge.route for edge in node.out if edge.handle is Handle.ROUTER} | {None}
    ends = [failed]
    for route in routes:
        routed = {no for no in by_handle[Handle.ROUTER] if node.out[no].route == route}
        for held in product([False, True], repeat=len(by_handle[Handle.CONDITION])):
            chosen = routed | {
                no for no, holds in zip(by_handle[Handle.CONDITION], held, strict=True) if holds
            }
            ends.append(frozenset(by_handle[Handle.SOURCE]) | (chosen or set(by_handle[Handle.ELSE])))
    return list(dict.fromkeys(ends))


def _cost(plan: Plan, choices: tuple[frozenset[int], ...]) -> int:
    ran: set[int] = set()
    for level in plan.levels:
        for no in level:
            ins = plan.nodes[no].ins
            if not ins or any(edge.source in ran and edge.index in choices[edge.source] for edge in ins):
                ran.add(no)
    return sum(plan.nodes[no].estimate_cents or 0 for no in ran)


@given(priced())
@settings(deadline=None)
def test_no_run_costs_more_than_the_estimate(data: dict[str, Any]) -> None:
    result = compiled(data)
    assert (
        dearest_run(result.plan)
        <= result.estimated_cost_cents
        <= sum(n["estimated_cost_cents"] for n in data["nodes"])
    )


@st.composite
def nested(draw: st.DrawFn, depth: int = 2) -> list[Any]:
    """A block: nodes in a row, each followed by nothing or by branches that meet again behind it."""
    rows = draw(st.integers(1, 2))
    kinds = st.sampled_from(["plain", "router", "both"]) if depth else st.just("plain")
    return [
        (
            kind := draw(kinds),
            draw(st.integers(0, 9)),
            *((draw(nested(depth - 1)), draw(nested(depth - 1))) if kind != "plain" else ()),
        )
        for _ in range(rows)
    ]


@given(nested())
@settings(deadline=None)
def test_the_estimate_is_exact_where_branches_meet_behind_their_choice(block: list[Any]) -> None:
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []

    def lay(block: list[Any], before: dict[str, Any] | None) -> tuple[str, int]:
        total, last = 0, before
        for kind, cents, *branches in block:
            name = f"n{len(nodes)}"
            nodes.append(node(name, cents, **(ROUTER if kind == "router" else {})))
            if last is not None:
                edges.append({**last, "to": name})
            total, last = total + cents, {"from": name}
            if branches:
                handles = [{"route": "x"}, {"route": "y"}] if kind == "router" else [{}, {}]
                ends = [
                    lay(inner, {"from": name, **handle})
                    for inner, handle in zip(branches, handles, strict=True)
                ]
                join = f"n{len(nodes)}"
                nodes.append(node(join))
                edges.extend({"from": end, "to": join} for end, _ in ends)
                costs = [cost for _, cost in ends]
                total, last = total + (max(costs) if kind == "router" else sum(costs)), {"from": join}
        assert last is not None
        return str(last["from"]), total

    _, expected = lay(block, None)
    assert estimate(*nodes, edges=edges) == expected


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_fan_out_of_error_edges(count: int) -> None:
    nodes = [node("a", 1), *(node(f"e{n}", 2) for n in range(count)), node("b", 3)]
    edges = ["a >> b", *({"from": "a", "to": f"e{n}", "handle": "error"} for n in range(count))]
    assert estimate(*nodes, edges=edges) == 1 + max(3, 2 * count)
