"""Fields of a workflow and of its nodes, one mistake at a time."""

from typing import Any

import pytest

from orchestrator.core.validate_nodes import LATER_TYPES, RESERVED
from tests.support.definitions import TYPES, compiled, noop, problems, workflow, wrong


def node(**fields: Any) -> dict[str, Any]:
    return workflow({"id": "a", "type": "noop", **fields})


@pytest.mark.parametrize("name", ["a", "a-1", "x" * 64])
def test_names_of_workflows(name: str) -> None:
    assert compiled({**node(), "name": name}).plan.workflow == name


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "a b", "x" * 65, "-a", "a\n", "é"])
def test_wrong_names_of_workflows(name: str) -> None:
    assert wrong({**node(), "name": name}) == [("/name", "INVALID_NAME")]


@pytest.mark.parametrize("node_id", ["a", "_", "A1", "x" * 64, "end", "error", "outer", "ifs", "items"])
def test_ids_of_nodes(node_id: str) -> None:
    assert compiled(workflow(noop(node_id))).plan.nodes[0].id == node_id


@pytest.mark.parametrize("node_id", ["1a", "a-b", "a.b", "x" * 65, "", "a\n", *sorted(RESERVED)])
def test_wrong_ids_of_nodes(node_id: str) -> None:
    assert wrong(workflow(noop(node_id))) == [("/nodes/0/id", "INVALID_NAME")]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5m", 300.0),
        ("2h", 7_200.0),
        ("7d", 604_800.0),
        (30, 30.0),
        (0.5, 0.5),
        ("1.5h", 5_400.0),
    ],
)
def test_durations(written: Any, seconds: float) -> None:
    assert compiled(node(timeout=written)).plan.nodes[0].timeout == seconds


@pytest.mark.parametrize(
    "written", ["soon", "30", "5 m", "-1s", -1, 0, "0s", True, None, [], "1w", "9999999d", "٣s", "5m\n"]
)
def test_wrong_durations(written: Any) -> None:
    assert wrong(node(timeout=written)) == [("/nodes/0/timeout", "INVALID_DURATION")]


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"description": 1}, "/description", "INVALID_TYPE"),
        ({"inputs": {"type": 5}}, "/inputs", "INVALID_SCHEMA"),
        ({"inputs": {"$ref": "http://127.0.0.1/x"}}, "/inputs", "INVALID_SCHEMA"),
        ({"inputs": []}, "/inputs", "INVALID_TYPE"),
        ({"outputs": []}, "/outputs", "INVALID_TYPE"),
        ({"variables": {"a-b": 1}}, "/variables/a-b", "INVALID_NAME"),
        ({"variables": {"a/b": 1}}, "/variables/a~1b", "INVALID_NAME"),
        ({"labels": {"a b": "x"}}, "/labels/a b", "INVALID_NAME"),
        ({"labels": {"a": 1}}, "/labels/a", "INVALID_TYPE"),
        ({"duration": "years"}, "/duration", "INVALID_VALUE"),
        ({"budget": {}}, "/budget/limit_cents", "MISSING_FIELD"),
        ({"budget": {"limit_cents": -1}}, "/budget/limit_cents", "INVALID_VALUE"),
        ({"budget": {"limit_cents": 1.5}}, "/budget/limit_cents", "INVALID_TYPE"),
        ({"budget": {"limit_cents": "5"}}, "/budget/limit_cents", "INVALID_TYPE"),
        ({"budget": {"limit_cents": True}}, "/budget/limit_cents", "INVALID_TYPE"),
        ({"budget": {"limit_cents": 1, "on_exceeded": "stop"}}, "/budget/on_exceeded", "INVALID_VALUE"),
        ({"budget": {"limit_cents": 1, "currency": "EUR"}}, "/budget/currency", "UNKNOWN_FIELD"),
        ({"on_failure": "stop"}, "/on_failure", "INVALID_VALUE"),
        ({"concurrency": {"key": "k", "limit": 0}}, "/concurrency/limit", "INVALID_VALUE"),
        (
            {"concurrency": {"key": "k", "limit": 1, "on_limit": "wait"}},
            "/concurrency/on_limit",
            "INVALID_VALUE",
        ),
        ({"concurrency": {"key": "{{run.id}}", "limit": 1}}, "/concurrency/key", "UNRESOLVED_REFERENCE"),
        ({"concurrency": {"key": "k"}}, "/concurrency/limit", "MISSING_FIELD"),
        ({"queue_timeout": "5m"}, "/concurrency", "MISSING_FIELD"),
        ({"queue_timeout": 0, "concurrency": {"key": "k", "limit": 1}}, "/queue_timeout", "INVALID_DURATION"),
        ({"retry": {"max_attempts": 0}}, "/retry/max_attempts", "INVALID_VALUE"),
        ({"edges": {}}, "/edges", "INVALID_TYPE"),
    ],
)
def test_fields_of_a_workflow(fields: dict[str, Any], pointer: str, code: str) -> None:
    assert wrong({**node(), **fields}) == [(pointer, code)]


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"type": None}, "type", "INVALID_TYPE"),
        ({"name": ""}, "name", "INVALID_VALUE"),
        ({"input_mapping": "x"}, "input_mapping", "INVALID_TYPE"),
        ({"error_port": "yes"}, "error_port", "INVALID_TYPE"),
        ({"join": "some"}, "join", "INVALID_VALUE"),
        ({"join": {"at_least": 0}}, "join/at_least", "INVALID_VALUE"),
        ({"join": {}}, "join/at_least", "MISSING_FIELD"),
        ({"join": {"at_least": 1, "of": 2}}, "join/of", "UNKNOWN_FIELD"),
        ({"join": {"at_least": 1}}, "join/at_least", "INVALID_VALUE"),
        ({"side_effects": "some"}, "side_effects", "INVALID_VALUE"),
        ({"systems": "crm"}, "systems", "INVALID_TYPE"),
        ({"systems": ["crm", "crm"]}, "systems/1", "INVALID_VALUE"),
        ({"idempotency_key": 1}, "idempotency_key", "INVALID_TYPE"),
        ({"estimated_cost_cents": 0.5}, "estimated_cost_cents", "INVALID_TYPE"),
        ({"max_output_bytes": 0}, "max_output_bytes", "INVALID_VALUE"),
        ({"on_large_output": "cut"}, "on_large_output", "INVALID_VALUE"),
        ({"degrade": {"value": 1, "use": "last_success"}}, "degrade", "INVALID_VALUE"),
        ({"degrade": {"max_age": 1}}, "degrade", "INVALID_VALUE"),
        ({"degrade": {"value": 1, "max_age": "7d"}}, "degrade/max_age", "INVALID_VALUE"),
        ({"degrade": {"use": "last_success", "max_age": "a week"}}, "degrade/max_age", "INVALID_DURATION"),
        ({"heartbeat": "30s"}, "heartbeat", "INVALID_VALUE"),
        ({"degrade": {"use": "first"}}, "degrade/use", "INVALID_VALUE"),
        ({"compensate": {"type": "none"}}, "compensate/reason", "MISSING_FIELD"),
        ({"compensate": {"type": "none", "reason": "r", "url": "x"}}, "compensate/url", "UNKNOWN_FIELD"),
        ({"compensate": {"type": "http"}}, "compensate/url", "MISSING_FIELD"),
        ({"compensate": {"type": "http", "url": "x", "id": "b"}}, "compensate/id", "UNKNOWN_FIELD"),
        ({"compensate": {"type": "llm"}}, "compensate/type", "UNSUPPORTED_NODE_TYPE"),
        ({"compensate": {"type": "condition", "expression": "true"}}, "compensate/type", "INVALID_VALUE"),
        ({"compensate": {"type": "approval", "title": "x"}}, "compensate/type", "INVALID_VALUE"),
        ({"compensate": {"type": "wait", "duration": 1}}, "compensate/type", "INVALID_VALUE"),
        ({"compensate": {"type": "signal", "signal": "x"}}, "compensate/type", "INVALID_VALUE"),
        ({"compensate": {"type": "pause", "reason": "x"}}, "compensate/type", "INVALID_VALUE"),
        ({"compensate": {"type": "noop", "when": "true"}}, "compensate/when", "UNKNOWN_FIELD"),
        ({"compensate": {"type": "noop", "retry": {"max": "x"}}}, "compensate/retry/max", "INVALID_DURATION"),
        ({"queue": "a b"}, "queue", "INVALID_NAME"),
        ({"priority": 10}, "priority", "INVALID_VALUE"),
        ({"retry": {"max_attempts": 2, "backoff": "fixed"}}, "retry/backoff", "INVALID_VALUE"),
        ({"retry": {"max": "x"}}, "retry/max", "INVALID_DURATION"),
        ({"retry": {"initial": "5m", "max": "1m"}}, "retry/max", "INVALID_VALUE"),
        ({"retry": {"jitter": 2}}, "retry/jitter", "INVALID_VALUE"),
        ({"retry": {"retry_on": ["TIMEOUTS"]}}, "retry/retry_on/0", "INVALID_VALUE"),
        ({"retry": {"retry_on": ["REJECTED"]}}, "retry/retry_on/0", "INVALID_VALUE"),
        ({"retry": {"not_on": "TIMEOUT"}}, "retry/not_on", "INVALID_TYPE"),
        ({"retry": {"policy": "sometimes"}}, "retry/policy", "INVALID_VALUE"),
        ({"retry": {"condition": "error.code =="}}, "retry/condition", "INVALID_EXPRESSION"),
        ({"retry": {"condition": "a.b == 1"}}, "retry/condition", "INVALID_EXPRESSION"),
        ({"retry": {"attempts": 3}}, "retry/attempts", "UNKNOWN_FIELD"),
        ({"fallback": "nobody"}, "fallback", "DANGLING_EDGE"),
        ({"fallback": "a"}, "fallback", "CYCLE"),
        ({"colour": "red"}, "colour", "UNKNOWN_FIELD"),
        ({"expression": "x"}, "expression", "UNKNOWN_FIELD"),
    ],
)
def test_fields_of_a_node(fields: dict[str, Any], pointer: str, code: str) -> None:
    assert wrong(node(**fields)) == [(f"/nodes/0/{pointer}", code)]


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"type": "agent"}, "agent", "MISSING_FIELD"),
        ({"type": "agent", "agent": "a", "task": "do"}, "task", "INVALID_TYPE"),
        ({"type": "agent", "agent": "a", "task": {"titel": "x"}}, "task/titel", "UNKNOWN_FIELD"),
        ({"type": "http"}, "url", "MISSING_FIELD"),
        ({"type": "http", "url": "x", "method": "FETCH"}, "method", "INVALID_VALUE"),
        ({"type": "http", "url": "x", "headers": []}, "headers", "INVALID_TYPE"),
        ({"type": "http", "url": "ftp://x"}, "url", "INVALID_VALUE"),
        ({"type": "http", "url": "x", "json": None, "body": "x"}, "body", "INVALID_VALUE"),
        ({"type": "http", "url": "x", "expect": {"status": "ok"}}, "expect/status", "INVALID_VALUE"),
        ({"type": "http", "url": "x", "expect": {"status": [200, 20]}}, "expect/status/1", "INVALID_VALUE"),
        ({"type": "transform", "expression": "$.a + "}, "expression", "INVALID_EXPRESSION"),
        ({"type": "set"}, "values", "MISSING_FIELD"),
        ({"type": "set", "values": {"a-b": 1}}, "values/a-b", "INVALID_NAME"),
        ({"type": "condition", "expression": ""}, "expression", "INVALID_VALUE"),
        ({"type": "condition", "expression": "inputs.x ==="}, "expression", "INVALID_EXPRESSION"),
        ({"type": "condition", "expression": "1 + 1"}, "expression", "INVALID_EXPRESSION"),
        ({"type": "router", "cases": []}, "cases", "INVALID_VALUE"),
        ({"type": "router", "cases": [{"route": "a"}]}, "cases/0/when", "MISSING_FIELD"),
        ({"type": "router", "cases": [{"route": "a", "when": "((("}]}, "cases/0/when", "INVALID_EXPRESSION"),
    ],
)
def test_own_fields_of_a_node(fields: dict[str, Any], pointer: str, code: str) -> None:
    assert wrong(node(**fields)) == [(f"/nodes/0/{pointer}", code)]


@pytest.mark.parametrize("kind", sorted(LATER_TYPES - TYPES.keys()))
def test_types_of_later_versions_are_refused(kind: str) -> None:
    (problem,) = problems(node(type=kind, body={"nodes": []}))
    assert (problem.pointer, problem.code) == ("/nodes/0/type", "UNSUPPORTED_NODE_TYPE")
    assert "not run by this version" in problem.message


def test_an_unknown_type_is_refused_with_a_suggestion() -> None:
    (problem,) = problems(node(type="agnet"))
    assert (problem.pointer, problem.code) == ("/nodes/0/type", "UNSUPPORTED_NODE_TYPE")
    assert 'did you mean "agent"?' in problem.message


def test_a_misspelt_field_is_one_mistake() -> None:
    (problem,) = problems(workflow({"id": "a", "type": "http", "urls": "http://x"}))
    assert (problem.pointer, problem.code) == ("/nodes/0/urls", "UNKNOWN_FIELD")
    assert 'did you mean "url"?' in problem.message


def test_a_node_without_id_and_type() -> None:
    assert wrong(workflow({})) == [("/nodes/0/id", "MISSING_FIELD"), ("/nodes/0/type", "MISSING_FIELD")]
    assert wrong(workflow("a")) == [("/nodes/0", "INVALID_TYPE")]  # type: ignore[arg-type]


def test_compensate_of_type_none_is_an_annotation() -> None:
    assert compiled(node(compensate={"type": "none", "reason": "read only"})).plan.nodes[0].lets_end


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"pool": "GPU"}, "pool", "INVALID_NAME"),
        ({"slots": 2}, "pool", "MISSING_FIELD"),
        ({"pool": "gpu", "slots": 0}, "slots", "INVALID_VALUE"),
        ({"rate": {"key": "k", "limit": 1}}, "rate/per", "MISSING_FIELD"),
        ({"rate": {"key": "k", "limit": 0, "per": "1m"}}, "rate/limit", "INVALID_VALUE"),
        ({"rate": {"key": "k", "limit": 1, "per": 0}}, "rate/per", "INVALID_DURATION"),
        ({"rate": {"key": "{{nobody.x}}", "limit": 1, "per": 1}}, "rate/key", "UNRESOLVED_REFERENCE"),
        ({"rate": {"key": "{{env.X}}", "limit": 1, "per": 1}}, "rate/key", "UNRESOLVED_REFERENCE"),
        ({"total_timeout": "soon"}, "total_timeout", "INVALID_DURATION"),
        ({"heartbeat": "30s"}, "heartbeat", "INVALID_VALUE"),
        ({"degrade": {"value": "{{env.X}}"}}, "degrade/value", "UNRESOLVED_REFERENCE"),
        ({"degrade": {"value": {"x": ["{{nobody.x}}"]}}}, "degrade/value/x/0", "UNRESOLVED_REFERENCE"),
        ({"degrade": {"value": "{{1 +}}"}}, "degrade/value", "INVALID_EXPRESSION"),
    ],
)
def test_fields_of_a_node_that_takes_time(fields: dict[str, Any], pointer: str, code: str) -> None:
    ours = {"id": "a", "type": "http", "url": "http://example.org"}
    assert wrong(workflow({**ours, **fields})) == [(f"/nodes/0/{pointer}", code)]


@pytest.mark.parametrize(
    "fields", [{"pool": "gpu"}, {"rate": {"key": "k", "limit": 1, "per": 1}}, {"total_timeout": 1}]
)
def test_inline_nodes_wait_for_nothing(fields: dict[str, Any]) -> None:
    assert wrong(workflow(noop("a", **fields))) == [(f"/nodes/0/{next(iter(fields))}", "INVALID_VALUE")]
