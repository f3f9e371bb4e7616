"""The plan: numbers, edges on both sides, levels, policies; through JSON and back; the same for the normal form."""

import json
from typing import Any

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.document import parse
from orchestrator.core.plan import Handle, InEdge, OutEdge, Plan, Retry
from tests.support.definitions import LIMITS, compiled, noop, workflow

AGENT = {"type": "agent", "agent": "x"}


def plan_of(*nodes: dict[str, Any], **fields: Any) -> Plan:
    return compiled(workflow(*nodes, **fields)).plan


def test_edges_stand_on_both_sides_in_the_order_written() -> None:
    edges = ["b >> d", "a >> [c, d]", {"from": "a", "to": "d", "handle": "error"}, "c >> d"]
    plan = plan_of(noop("a"), noop("b"), noop("c"), noop("d"), edges=edges)
    assert plan.node("a").out == (
        OutEdge(target=2),
        OutEdge(target=3),
        OutEdge(target=3, handle=Handle.ERROR),
    )
    assert plan.node("d").ins == (
        InEdge(source=1, index=0),
        InEdge(source=0, index=1),
        InEdge(source=0, index=2),
        InEdge(source=2, index=0),
    )
    assert plan.start == (0, 1)
    assert plan.levels == ((0, 1), (2,), (3,))
    assert [node.id for node in plan.terminal] == ["d"]


def test_the_plan_shows_dependencies_and_dependents() -> None:
    shown = plan_of(noop("a"), noop("b"), noop("c"), edges=["a >> [b, c]", "b >> c"]).to_json()
    assert shown["nodes"]["c"]["dependencies"] == ["a", "b"]
    assert shown["nodes"]["a"]["dependents"] == ["b", "c"]
    assert shown["start_nodes"] == ["a"]
    assert shown["levels"] == [["a"], ["b"], ["c"]]


def test_joins_become_the_number_of_live_edges_needed() -> None:
    joins: list[Any] = ["all", "any", {"at_least": 2}]
    nodes = [noop(name, join=join) for name, join in zip("cde", joins, strict=True)]
    plan = plan_of(noop("a"), noop("b"), *nodes, noop("f", join="any"), edges=["[a, b] >> [c, d, e]"])
    assert [node.need for node in plan.nodes] == [None, None, None, 1, 2, None]


def test_what_the_type_says_stands_unless_the_node_overrides_it() -> None:
    plan = plan_of(
        noop("a"),
        {"id": "b", **AGENT, "queue": "slow", "priority": 5, "estimated_cost_cents": 0},
        {"id": "c", **AGENT},
        {"id": "d", "type": "transform", "expression": "$", "compensate": {"type": "none", "reason": "pure"}},
        {"id": "e", "type": "http", "url": "x", "max_output_bytes": 9, "on_large_output": "truncate"},
    )
    a, b, c, d, e = plan.nodes
    assert (a.inline, a.passes, a.slow, a.estimate_cents) == (True, True, False, None)
    assert (b.slow, b.queue, b.priority, b.estimate_cents, b.lets_end) == (True, "slow", 5, 0, False)
    assert (c.queue, c.estimate_cents) == ("steps", 1)
    assert (d.queue, d.inline, d.lets_end) == ("control", False, True)
    assert (e.max_output_bytes, e.on_large_output, e.estimate_cents) == (9, "truncate", None)
    assert b.fields == {"agent": "x"}


def test_a_retry_lies_over_the_workflows() -> None:
    nodes = [
        noop("a"),
        noop("b", retry={"policy": "never"}),
        noop("c", retry={"max_attempts": 9, "retry_on": ["TIMEOUT"], "initial": "10m"}),
    ]
    plan = plan_of(*nodes, retry={"max_attempts": 3, "initial": "250ms", "jitter": 0})
    base = Retry(max_attempts=3, initial=0.25, jitter=0.0)
    assert plan.node("a").retry == base
    assert plan.node("b").retry == Retry(max_attempts=3, initial=0.25, jitter=0.0, policy="never")
    assert plan.node("c").retry == Retry(
        max_attempts=9, initial=600.0, max=600.0, jitter=0.0, retry_on=("TIMEOUT",)
    )


def test_without_retry_there_is_one_attempt_and_with_it_the_policy_is_always() -> None:
    plan = plan_of(noop("a"), noop("b", retry={"max_attempts": 2}))
    assert [(node.retry.max_attempts, node.retry.policy) for node in plan.nodes] == [
        (1, "always"),
        (2, "always"),
    ]


def test_the_workflows_own_fields() -> None:
    plan = plan_of(
        noop("a"),
        inputs={"type": "object"},
        outputs={"x": 1},
        variables={"v": [1]},
        labels={"l.a-b": "c"},
        on_failure="continue",
        timeout="1m",
        budget={"limit_cents": 7, "on_exceeded": "pause"},
        duration="minutes",
    )
    assert (plan.inputs_schema, plan.outputs, plan.variables, plan.labels) == (
        {"type": "object"},
        {"x": 1},
        {"v": [1]},
        {"l.a-b": "c"},
    )
    assert (plan.on_failure, plan.timeout, plan.budget_cents, plan.on_exceeded, plan.short) == (
        "continue",
        60.0,
        7,
        "pause",
        False,
    )


def test_yaml_and_json_of_the_same_content_have_one_digest() -> None:
    data = workflow(noop("a"), noop("b", timeout=1.5), edges=["a >> b"], labels={"x": "é"})
    turned = {key: data[key] for key in reversed(data)}
    texts = [json.dumps(data), json.dumps(turned, indent=2)]
    digests = {
        compiled(parse(text, media=media, limits=LIMITS).data).digest
        for text in texts
        for media in ("yaml", "json")
    }
    assert digests == {compiled(data).digest}
    assert compiled({**data, "labels": {"x": "e"}}).digest not in digests


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """A definition of up to 12 nodes with all handles and joins; edges lead from lower to higher numbers."""
    size = draw(st.integers(1, 12))
    nodes: list[dict[str, Any]] = []
    for no in range(size):
        kind = draw(st.sampled_from(["noop", "agent", "router", "condition"]))
        own: dict[str, Any] = {
            "noop": {},
            "agent": {"agent": "x", "estimated_cost_cents": draw(st.integers(0, 9))},
            "router": {"cases": [{"route": "x", "when": "inputs.x"}, {"route": "y", "when": "inputs.y"}]},
            "condition": {"expression": "inputs.x == 1"},
        }[kind]
        nodes.append({"id": f"n{no}", "type": kind, **own, "join": draw(st.sampled_from(["all", "any"]))})
    edges: dict[tuple[Any, ...], dict[str, Any]] = {}
    for target in range(1, size):
        for source in draw(st.sets(st.integers(0, target - 1), max_size=3)):
            edge = {"from": f"n{source}", "to": f"n{target}", **draw(_handles(nodes[source]["type"]))}
            edges[tuple(sorted(edge.items()))] = edge
    return workflow(*nodes, edges=[edge for edge in edges.values() if edge.get("handle") != "else"])


def _handles(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    known: list[dict[str, Any]] = [{}, {"handle": "error"}, {"when": "inputs.z"}]
    known += [{"route": "x"}, {"route": "y"}] if kind == "router" else []
    known += [{"route": True}, {"route": "false"}] if kind == "condition" else []
    return st.sampled_from(known)


@given(graphs())
@settings(deadline=None)
def test_any_plan_survives_json_and_its_normal_form_compiles_to_it(data: dict[str, Any]) -> None:
    result = compiled(data)
    assert Plan.from_json(json.loads(json.dumps(result.plan.to_json()))) == result.plan
    again = compiled(result.definition)
    assert (again.definition, again.digest, again.plan) == (result.definition, result.digest, result.plan)


@given(graphs())
@settings(deadline=None)
def test_levels_and_edges_agree(data: dict[str, Any]) -> None:
    plan = compiled(data).plan
    assert sorted(no for level in plan.levels for no in level) == list(range(len(plan.nodes)))
    for depth, level in enumerate(plan.levels):
        assert all(plan.nodes[no].level == depth for no in level)
    for node in plan.nodes:
        sources = [plan.nodes[edge.source] for edge in node.ins]
        assert node.level == max((source.level + 1 for source in sources), default=0)
        assert all(
            source.out[edge.index].target == node.no for source, edge in zip(sources, node.ins, strict=True)
        )
    assert plan.start == tuple(node.no for node in plan.nodes if not node.ins)
    assert sum(len(node.out) for node in plan.nodes) == sum(len(node.ins) for node in plan.nodes)
    drawn = nx.DiGraph((node.no, edge.target) for node in plan.nodes for edge in node.out)
    assert nx.is_directed_acyclic_graph(drawn)


def test_compensations_stand_behind_all_nodes() -> None:
    """With the scope of their owner, in no body's range and no level, and stored with it."""
    body = {"nodes": [{"id": "x", "type": "noop", "compensate": {"type": "noop"}}]}
    nodes = [
        {"id": "a", "type": "noop", "compensate": {"type": "http", "url": "x/{{a.id}}", "timeout": 3}},
        {"id": "each", "type": "parallel", "count": 2, "body": body},
        {"id": "call", "type": "subworkflow", "workflow": "w"},
        {"id": "left", "type": "subworkflow", "workflow": "w", "wait": False},
        {"id": "kept", "type": "subworkflow", "workflow": "w", "compensate": {"type": "none", "reason": "no"}},
    ]
    plan = compiled({"name": "w", "nodes": nodes, "edges": []}).plan
    assert (plan.width, plan.forward, plan.undoable) == (5, 6, (0, 2, 5))
    found = [(node.id, node.undoes, node.scope, node.asks, node.refs) for node in plan.nodes[plan.forward :]]
    assert found == [
        ("a:compensate", 0, None, False, (0,)),
        ("call:compensate", 2, None, True, ()),
        ("x:compensate", 5, 1, False, ()),
    ]
    assert [plan.nodes[no].undone_by for no in plan.undoable] == [6, 7, 8]
    assert plan.at(2 * len(plan.nodes) + 8).undoes == 2 * len(plan.nodes) + 5
    assert plan.nodes[1].body is not None
    assert (plan.nodes[1].body.size, len(plan.members(1))) == (1, 1)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
