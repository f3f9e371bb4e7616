"""References: to nodes that had their turn, to names that exist, to env only where it may be."""

from typing import Any

import pytest

from tests.support.definitions import compiled, noop, problems, workflow, wrong


def diamond(**fields: Any) -> dict[str, Any]:
    """a >> [b, c] >> d with d given."""
    return workflow(
        noop("a"),
        noop("b"),
        noop("c"),
        {"id": "d", "type": "noop", **fields},
        noop("z"),
        edges=["a >> [b, c] >> d >> z"],
    )


@pytest.mark.parametrize(
    ("fields", "refs"),
    [
        ({"input_mapping": {"x": "{{a.y}}", "v": ["{{c.error.code?}}", "{{a.z}}"]}}, (0, 2)),
        ({"input_mapping": {"x": "{{size(b.list) > 3}} and {{inputs.x}}"}}, (1,)),
        ({"type": "set", "values": {"x": "{{b.y}}"}}, (1,)),
        ({"type": "condition", "expression": "a.x == c.x"}, (0, 2)),
        ({"type": "router", "cases": [{"route": "r", "when": "b.x.exists(i, i == 1)"}]}, (1,)),
        ({"when": "has(c.x) && var.y"}, (2,)),
        ({"idempotency_key": "{{a.id}}-{{run.id}}"}, (0,)),
        ({"name": "{{z.x}}", "when": "inputs.z == 'a.x'"}, ()),
    ],
)
def test_references_become_numbers(fields: dict[str, Any], refs: tuple[int, ...]) -> None:
    assert compiled(diamond(**fields)).plan.node("d").refs == refs


@pytest.mark.parametrize("value", ["{{}}", "{{ }}", "to {{ }} and {{inputs.x}}"])
def test_braces_around_nothing(value: str) -> None:
    assert wrong(diamond(input_mapping={"x": value})) == [("/nodes/3/input_mapping/x", "INVALID_EXPRESSION")]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("{{z.x}}", "can't have run before"),
        ("{{d.x}}", "its own output"),
        ("{{size(z.x)}}", "can't have run before"),
        ("{{ghost.x}}", "nothing named 'ghost'"),
        ("{{inptus.x}}", 'did you mean "inputs"?'),
        ("{{loop.index}}", "no loop around"),
        ("{{parallel.index + 1}}", "no parallel around"),
        ("{{item.x}}", "nothing named 'item'"),
        ("{{run.status}}", "write run.id"),
        ("{{run}}", "write run.id"),
        ("{{env.HOME}}", "own fields only"),
    ],
)
def test_what_a_mapping_may_not_name(value: str, hint: str) -> None:
    (problem,) = problems(diamond(input_mapping={"x": {"y": [value]}}))
    assert (problem.pointer, problem.code) == ("/nodes/3/input_mapping/x/y/0", "UNRESOLVED_REFERENCE")
    assert hint in problem.message


def test_branches_beside_each_other_cannot_be_named() -> None:
    data = diamond()
    data["nodes"][2]["input_mapping"] = {"x": "{{b.x}}"}
    assert wrong(data) == [("/nodes/2/input_mapping/x", "UNRESOLVED_REFERENCE")]


def test_order_is_checked_beside_a_cycle_too() -> None:
    data = diamond(input_mapping={"x": "{{a.x}}", "y": "{{z.x}}"})
    data["edges"].append("b >> b")
    assert wrong(data) == [("/edges/1", "CYCLE"), ("/nodes/3/input_mapping/y", "UNRESOLVED_REFERENCE")]


def test_a_when_of_an_edge_may_name_its_source() -> None:
    edges = ["a >> b", {"from": "b", "to": "c", "when": "b.x == 1 && a.y == 2"}]
    plan = compiled(workflow(noop("a"), noop("b"), noop("c"), edges=edges)).plan
    assert plan.node("b").edge_refs == (0, 1)
    assert plan.node("b").refs == ()


def test_outputs_may_name_every_node() -> None:
    plan = compiled({**diamond(), "outputs": {"x": "{{z.x}}", "y": {"n": "{{b.y?}}"}}}).plan
    assert plan.output_refs == (1, 4)
    assert wrong({**diamond(), "outputs": {"x": "{{ghost}}"}}) == [("/outputs/x", "UNRESOLVED_REFERENCE")]


@pytest.mark.parametrize(
    "node",
    [
        {"type": "http", "url": "{{env.URL}}", "headers": {"Authorization": "Bearer {{env.TOKEN}}"}},
        {"type": "http", "url": "x", "query": {"q": "{{env.TOKEN + env.URL}}"}},
        {"type": "condition", "expression": "env.URL == 'x'"},
    ],
)
def test_env_in_own_fields(node: dict[str, Any]) -> None:
    data = workflow({"id": "a", **node})
    assert compiled(data, env_allow=("URL", "TOKEN")).plan.nodes[0].refs == ()
    refused = problems(data, env_allow=("OTHER",))
    assert {problem.code for problem in refused} == {"UNRESOLVED_REFERENCE"}
    assert "ORCHESTRATOR_ENV_ALLOW" in refused[0].message


@pytest.mark.parametrize("value", ["{{env}}", "{{env['URL' + 'X']}}", "{{size(env)}}"])
def test_env_must_be_followed_by_a_name(value: str) -> None:
    data = workflow({"id": "a", "type": "http", "url": value})
    assert wrong(data, env_allow=("URL",)) == [("/nodes/0/url", "UNRESOLVED_REFERENCE")]


def test_a_name_in_brackets_is_one() -> None:
    data = workflow({"id": "a", "type": "http", "url": "{{env['URL']}}"})
    assert compiled(data, env_allow=("URL",))
    assert wrong(data) == [("/nodes/0/url", "UNRESOLVED_REFERENCE")]


@pytest.mark.parametrize("where", ["idempotency_key", "when"])
def test_env_outside_of_own_fields_is_refused(where: str) -> None:
    value = "env.URL == 'x'" if where == "when" else "{{env.URL}}"
    data = workflow(noop("a", **{where: value}))
    assert wrong(data, env_allow=("URL",)) == [(f"/nodes/0/{where}", "UNRESOLVED_REFERENCE")]


def agent(node_id: str, session: str, agent_name: str = "x") -> dict[str, Any]:
    return {"id": node_id, "type": "agent", "agent": agent_name, "session": session}


def test_nodes_that_can_run_at_once_may_not_share_a_session() -> None:
    nodes = [agent("a", "s"), agent("b", "s"), agent("c", "s")]
    assert compiled(workflow(*nodes, edges=["a >> b >> c"]))
    assert wrong(workflow(*nodes, edges=["a >> [b, c]"])) == [("/nodes/2/session", "INVALID_VALUE")]
    assert wrong(workflow(*nodes)) == [
        ("/nodes/1/session", "INVALID_VALUE"),
        ("/nodes/2/session", "INVALID_VALUE"),
    ]


def judge(node_id: str, session: str) -> dict[str, Any]:
    return {"id": node_id, "type": "agent", "role": "judge", "session": session}


def test_nodes_by_role_share_a_session_with_any_that_keeps_it() -> None:
    nodes = [judge("a", "s"), agent("b", "s", "y"), agent("c", "s", "z"), judge("d", "t")]
    assert wrong(workflow(*nodes)) == [
        ("/nodes/1/session", "INVALID_VALUE"),
        ("/nodes/2/session", "INVALID_VALUE"),
    ]
    assert compiled(workflow(*nodes, edges=["a >> [b, c]"]))
    assert compiled(workflow(judge("a", "attempt"), judge("b", "attempt")))


def test_sessions_of_other_agents_or_attempts_are_others() -> None:
    assert compiled(
        workflow(
            agent("a", "s"),
            agent("b", "s", "y"),
            agent("c", "t"),
            agent("d", "attempt"),
            agent("e", "attempt"),
        )
    )


def test_branches_that_exclude_each_other_may_share_a_session() -> None:
    router = {"id": "r", "type": "router", "cases": [{"route": "x", "when": "inputs.x"}], "default": "y"}
    edges = [{"from": "r", "to": "a", "route": "x"}, {"from": "r", "to": "b", "route": "y"}, "[a, b] >> c"]
    assert compiled(workflow(router, agent("a", "s"), agent("b", "s"), agent("c", "s"), edges=edges))


@pytest.mark.parametrize(
    ("named", "wrong_at"),
    [("a", None), ("b", None), ("c", "/nodes/1/compensate/url"), ("nothing", "/nodes/1/compensate/url")],
)
def test_a_compensation_names_its_step_and_what_that_may_name(named: str, wrong_at: str | None) -> None:
    undone = {"type": "http", "url": f"x/{{{{{named}.id}}}}"}
    nodes = [noop("a"), noop("b", compensate=undone), noop("c")]
    data = workflow(*nodes, edges=["a >> b >> c"])
    if wrong_at is None:
        compiled(data)
    else:
        assert wrong(data) == [(wrong_at, "UNRESOLVED_REFERENCE")]
