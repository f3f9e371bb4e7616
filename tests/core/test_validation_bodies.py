"""Bodies of loops and parallels: what is wrong in them is reported as in a workflow, where it stands."""

from typing import Any

import pytest

from orchestrator.core.document import Limits
from orchestrator.core.mermaid import draw
from orchestrator.core.plan import Plan
from tests.support.definitions import TYPES, compiled, noop, problems, refusal, workflow, wrong


def each(*nodes: dict[str, Any], edges: Any = (), **fields: Any) -> dict[str, Any]:
    given = {"id": "each", "type": "parallel", "count": 2, **fields}
    return {**given, "body": {"nodes": list(nodes), "edges": list(edges)}}


def again(*nodes: dict[str, Any], edges: Any = (), **fields: Any) -> dict[str, Any]:
    given = {"id": "again", "type": "loop", "mode": "for", "count": 2, **fields}
    return {**given, "body": {"nodes": list(nodes), "edges": list(edges)}}


def noted(node_id: str, value: str) -> dict[str, Any]:
    return noop(node_id, input_mapping={"x": value})


AT = "/nodes/0/body/nodes/0/input_mapping/x"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"nodes": []}, ("/nodes/0/body/nodes", "INVALID_VALUE")),
        ({"edges": []}, ("/nodes/0/body/nodes", "MISSING_FIELD")),
        ([], ("/nodes/0/body", "INVALID_TYPE")),
        (None, ("/nodes/0/body", "INVALID_TYPE")),
        ({"nodes": "x"}, ("/nodes/0/body/nodes", "INVALID_TYPE")),
        ({"nodes": [noop("a")], "edges": {}}, ("/nodes/0/body/edges", "INVALID_TYPE")),
        ({"nodes": [noop("a")], "outputs": {}}, ("/nodes/0/body/outputs", "UNKNOWN_FIELD")),
        ({"nodes": [noop("a", wehn="x")]}, ("/nodes/0/body/nodes/0/wehn", "UNKNOWN_FIELD")),
        ({"nodes": [noop("a"), noop("a")]}, ("/nodes/0/body/nodes/1/id", "DUPLICATE_ID")),
        ({"nodes": [noop("a"), noop("b"), {"id": "c"}]}, ("/nodes/0/body/nodes/2/type", "MISSING_FIELD")),
        ({"nodes": [noop("a")], "edges": ["a >> each"]}, ("/nodes/0/body/edges/0", "DANGLING_EDGE")),
        ({"nodes": [noop("a"), noop("b")], "edges": ["a >> b >> a"]}, ("/nodes/0/body/edges/0", "CYCLE")),
        ({"nodes": [noop("a", fallback="z")]}, ("/nodes/0/body/nodes/0/fallback", "DANGLING_EDGE")),
        ({"nodes": [noop("a", when="1 +")]}, ("/nodes/0/body/nodes/0/when", "INVALID_EXPRESSION")),
    ],
)
def test_a_bad_body(body: Any, expected: tuple[str, str]) -> None:
    assert wrong(workflow({"id": "each", "type": "parallel", "count": 1, "body": body})) == [expected]


def test_all_that_is_wrong_in_all_bodies_at_once_with_its_line() -> None:
    source = """
name: test
nodes:
  - id: outer
    type: parallel
    count: 2
    body:
      nodes:
        - id: inner
          type: loop
          mode: while
          condition: "ghost.x > 1"
          body:
            nodes:
              - {id: a, type: noop}
              - {id: b, type: noop, nonsense: 1}
              - {id: c, type: transform, expression: "$"}
            edges:
              - b >> d
"""
    found = [(p.pointer, p.code, p.line) for p in problems(source)]
    at = "/nodes/0/body/nodes/0"
    assert sorted(found) == [
        (f"{at}/body/edges/0", "DANGLING_EDGE", 19),
        (f"{at}/body/nodes/1/nonsense", "UNKNOWN_FIELD", 16),
        (f"{at}/condition", "UNRESOLVED_REFERENCE", 12),
        (f"{at}/max_iterations", "MISSING_FIELD", 9),
    ]


def nested(depth: int) -> dict[str, Any]:
    node = noop("x")
    for _ in range(depth):
        node = each(node, count=1)
    return workflow(node)


def test_bodies_nest_as_deep_as_is_allowed() -> None:
    assert len(compiled(nested(20)).plan.nodes) == 21
    (problem,) = refusal(nested(4), limits=Limits(max_depth=3)).problems
    assert (problem.pointer, problem.code) == ("/nodes/0" + "/body/nodes/0" * 3 + "/body", "TOO_DEEP")
    assert [problem.code for problem in problems(nested(21))] == ["TOO_DEEP"]


def test_nodes_are_counted_over_all_bodies() -> None:
    two = again(noop("a"), noop("b"))
    assert len(compiled(workflow(two, each(noop("c"))), limits=Limits(max_nodes=5)).plan.nodes) == 5
    (problem,) = refusal(workflow(two, each(noop("c"))), limits=Limits(max_nodes=4)).problems
    assert (problem.pointer, problem.code) == ("/nodes/1/body/nodes", "TOO_LARGE")


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (workflow(each(noted("a", "{{each.results}}"))), AT),
        (workflow(each(noted("a", "{{b.x?}}"), noop("b"))), AT),
        (workflow(each(noted("a", "{{a.x?}}"))), AT),
        (workflow(each(noted("a", "{{z.x}}")), noop("z")), AT),
        (workflow(each(noop("a")), noted("z", "{{a.x}}"), edges=["each >> z"]), "/nodes/1/input_mapping/x"),
        (workflow(each(noop("a")), noted("z", "{{loop.index}}")), "/nodes/1/input_mapping/x"),
        (workflow(each(noop("a")), outputs={"x": "{{a.x}}"}), "/outputs/x"),
        (workflow(each(noted("a", "{{loop.index}}"))), AT),
        (workflow(again(noted("a", "{{loop.currentItem}}"))), AT),
        (workflow(each(noop("a"), collect="{{env.HOME}}")), "/nodes/0/collect"),
        (workflow(each(noop("a"), items="{{item}}")), "/nodes/0/items"),
        (workflow(each(noop("a"), items="{{a.x}}")), "/nodes/0/items"),
        (
            workflow(each(each(noted("a", "{{b.x?}}")), noop("b"))),
            "/nodes/0/body/nodes/0/body/nodes/0/input_mapping/x",
        ),
        (
            workflow(each(again(noted("a", "{{b.x?}}")), noop("b"))),
            "/nodes/0/body/nodes/0/body/nodes/0/input_mapping/x",
        ),
    ],
)
def test_references_that_mean_nothing_where_they_stand(data: dict[str, Any], pointer: str) -> None:
    given = [({**node} | ({} if "items" not in node else {"count": None})) for node in data["nodes"]]
    data["nodes"] = [{key: value for key, value in node.items() if value is not None} for node in given]
    assert wrong(data) == [(pointer, "UNRESOLVED_REFERENCE")]


@pytest.mark.parametrize(
    "data",
    [
        workflow(
            noop("before"), each(noted("a", "{{before.x?}}{{each.parallel.index}}")), edges=["before >> each"]
        ),
        workflow(again(noted("a", "{{b.x?}}{{a.y?}}"), noop("b"), edges=["a >> b"])),
        workflow(again(each(noted("a", "{{b.x?}}{{loop.index}}{{parallel.index}}")), noop("b"))),
        workflow(again(each(noted("a", "{{again.loop.total}}{{each.parallel.branchId}}{{item}}")))),
        workflow(each(noop("a"), noted("each", "{{a.x}}"), edges=["a >> each"], collect="{{each.x}}")),
    ],
)
def test_references_that_have_a_value(data: dict[str, Any]) -> None:
    plan = compiled(data).plan
    assert Plan.from_json(plan.to_json()) == plan


def test_what_an_iteration_left_is_seen_from_bodies_within() -> None:
    plan = compiled(workflow(again(each(noted("a", "{{b.x?}}")), noop("b")))).plan
    by_id = {node.id: node for node in plan.nodes}
    assert by_id["a"].back == (by_id["b"].no,)
    assert by_id["each"].back == ()


@pytest.mark.parametrize("field", ["count", "items"])
def test_a_container_takes_nothing_from_the_environment(field: str) -> None:
    node = {key: value for key, value in each(noop("a")).items() if key != "count"} | {
        field: "{{env.SECRET}}"
    }
    (problem,) = refusal(workflow(node), env_allow=["SECRET"]).problems
    assert (problem.pointer, problem.code) == (f"/nodes/0/{field}", "UNRESOLVED_REFERENCE")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"count": -1}, "count"),
        ({"count": 1.5}, "count"),
        ({"count": True}, "count"),
        ({"count": "3"}, "count"),
        ({"count": "{{inputs.x}} "}, "count"),
        ({"count": "{{inputs.x}}{{inputs.y}}"}, "count"),
        ({"items": "abc"}, "items"),
        ({"items": {"a": 1}}, "items"),
        ({"items": "{{inputs.x}}, {{inputs.y}}"}, "items"),
        ({"count": 1, "items": [1]}, "items"),
        ({"count": 1, "max_concurrency": 0}, "max_concurrency"),
        ({"count": 1, "tolerate_failures": "10"}, "tolerate_failures"),
        ({"count": 1, "on_error": "continue"}, "on_error"),
        ({"type": "loop", "mode": "for", "count": 1, "max_iterations": 0}, "max_iterations"),
        ({"type": "loop", "mode": "for_each", "items": "text"}, "items"),
        ({"type": "loop", "mode": "for", "count": 1, "items": [1]}, "items"),
        ({"type": "loop", "mode": "until"}, "mode"),
    ],
)
def test_own_fields_of_containers_that_can_mean_nothing(fields: dict[str, Any], pointer: str) -> None:
    node = {"id": "each", "type": "parallel", "body": {"nodes": [noop("a")]}} | fields
    assert wrong(workflow(node)) == [(f"/nodes/0/{pointer}", "INVALID_VALUE")]


def kept(node_id: str, session: str) -> dict[str, Any]:
    return {"id": node_id, "type": "agent", "agent": "Writer", "session": session, "task": {"title": "write"}}


@pytest.mark.parametrize(
    ("data", "pointers"),
    [
        (workflow(each(kept("a", "s"))), ["/nodes/0/body/nodes/0"]),
        (workflow(each(kept("a", "run"))), ["/nodes/0/body/nodes/0"]),
        (workflow(each(again(kept("a", "s")))), ["/nodes/0/body/nodes/0/body/nodes/0"]),
        (workflow(again(each(each(kept("a", "s"))))), ["/nodes/0/body/nodes/0/body/nodes/0/body/nodes/0"]),
        (workflow(each(kept("a", "attempt"))), []),
        (workflow(each(kept("a", "s{{parallel.index}}"))), []),
        (workflow(each(kept("a", "s"), max_concurrency=1)), []),
        (workflow(again(kept("a", "s"), kept("b", "s"), edges=["a >> b"])), []),
        (workflow(again(kept("a", "s")), kept("b", "s")), ["/nodes/1"]),
        (workflow(kept("b", "s"), again(kept("a", "s"))), ["/nodes/1/body/nodes/0"]),
        (workflow(again(kept("a", "s")), kept("b", "s"), edges=["again >> b"]), []),
    ],
)
def test_sessions_that_two_could_use_at_once(data: dict[str, Any], pointers: list[str]) -> None:
    if pointers:
        assert wrong(data) == [(f"{pointer}/session", "INVALID_VALUE") for pointer in pointers]
    else:
        compiled(data)


@pytest.mark.parametrize(
    ("node", "cents", "bound"),
    [
        (each(noop("a", estimated_cost_cents=3), count=4), 12, False),
        (each(noop("a", estimated_cost_cents=3), count="{{inputs.n}}"), 3, True),
        (
            again(
                noop("a", estimated_cost_cents=3),
                mode="while",
                condition="true",
                max_iterations=5,
                count=None,
            ),
            15,
            False,
        ),
        (again(noop("a", estimated_cost_cents=3), mode="for_each", items=[1, 2], count=None), 3, True),
        (again(each(noop("a", estimated_cost_cents=3), estimated_cost_cents=1)), 14, False),
        (again(each(noop("a", estimated_cost_cents=9), count=10**9), count=10**9), 10**12, True),
        (again(each(noop("a", estimated_cost_cents=3), count=None, items="{{inputs.x}}")), 6, True),
    ],
)
def test_the_estimate_counts_bodies(node: dict[str, Any], cents: int, bound: bool) -> None:
    def without_none(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: without_none(value) for key, value in found.items() if value is not None}
        return [without_none(item) for item in found] if isinstance(found, list) else found

    made = compiled(workflow(without_none(node)))
    assert (made.estimated_cost_cents, made.estimate_is_lower_bound) == (cents, bound)


def test_a_commitment_in_a_body_makes_a_workflow_long() -> None:
    found = wrong(workflow(each(again(noop("pay", side_effects="external")))))
    at = "/nodes/0/body/nodes/0/body/nodes/0"
    assert found == [
        (f"{at}/idempotency_key", "LONG_WITHOUT_COMPENSATION"),
        (f"{at}/compensate", "LONG_WITHOUT_COMPENSATION"),
    ]


def test_bodies_are_drawn_in_frames_of_their_own() -> None:
    data = workflow(noop("x"), each(noop("x"), again(noop("end")), edges=["x >> again"]), edges=["x >> each"])
    plan = compiled(data).plan
    lines = [line.strip() for line in draw(plan, TYPES, {"x": "success", "each": "waiting"}).split("\n")]
    assert lines.count("end") == 2 == sum(line.startswith("subgraph") for line in lines)
    boxes = [line.partition("[")[0] for line in lines if "noop" in line]
    assert len(set(boxes)) == 3
    assert "x --> each" in lines
    assert Plan.from_json(plan.to_json()) == plan
