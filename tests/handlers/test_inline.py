"""The nodes that the engine evaluates itself: noop, set, emit, condition, router."""

from typing import Any

import pytest

from models.errors import ErrorCode
from orchestrator.core.nodetype import NodeType
from orchestrator.core.outcome import Emitted, Failed, Outcome, Succeeded
from orchestrator.registry import handler_classes
from tests.support.contexts import context

INPUT = {"a": 1}
NAMES = {"inputs": {"score": 7, "name": "Ada"}}


def execute(type: str, fields: dict[str, Any], names: dict[str, Any] | None = None) -> Outcome:
    handler = handler_classes()[type](None)  # type: ignore[call-arg]
    return handler.execute(context(fields, type=type, input=INPUT, names=NAMES if names is None else names))


def error(outcome: Outcome) -> tuple[ErrorCode, str]:
    assert isinstance(outcome, Failed)
    return outcome.error.code, outcome.error.message


def node_type(type: str) -> NodeType:
    return handler_classes()[type].TYPE


def test_noop_passes_its_input_on() -> None:
    assert execute("noop", {}) == Succeeded(output=INPUT)


def test_set_writes_variables_and_passes_its_input_on() -> None:
    values = {"region": "eu", "_n": [1, {"deep": None}]}
    assert execute("set", {"values": values}) == Succeeded(output=INPUT, variables=values)


@pytest.mark.parametrize("key", ["", "1a", "a-b", "a.b", "ä", "a" * 65, "a\n", " a"])
def test_set_refuses_what_is_no_name_of_a_variable(key: str) -> None:
    code, message = error(execute("set", {"values": {"fine": 1, key: 2}}))
    assert code is ErrorCode.VALIDATION
    assert repr(key) in message


@pytest.mark.parametrize("values", [None, [], "x", 1])
def test_set_refuses_what_is_no_object(values: Any) -> None:
    assert error(execute("set", {"values": values}))[0] is ErrorCode.VALIDATION


@pytest.mark.parametrize(
    ("expression", "route"), [("inputs.score > 5", "true"), ("inputs.score > 9", "false")]
)
def test_condition_selects_a_route(expression: str, route: str) -> None:
    assert execute("condition", {"expression": expression}) == Succeeded(output=INPUT, route=route)


@pytest.mark.parametrize(
    ("expression", "code", "says"),
    [
        ("inputs.score", ErrorCode.VALIDATION, "gave int"),
        ("inputs.name", ErrorCode.VALIDATION, "gave str"),
        ("null", ErrorCode.VALIDATION, "neither true nor false"),
        ("inputs.score + 'x' == 'y'", ErrorCode.VALIDATION, "string("),
        ("inputs.nope > 1", ErrorCode.UNRESOLVED_REFERENCE, "'inputs.nope'"),
        ("skipped.x", ErrorCode.UNRESOLVED_REFERENCE, "'skipped'"),
    ],
)
def test_condition_fails_on_anything_else(expression: str, code: ErrorCode, says: str) -> None:
    found, message = error(execute("condition", {"expression": expression}))
    assert found is code
    assert says in message


CASES = [{"route": "hot", "when": "inputs.score > 8"}, {"route": "warm", "when": "inputs.score > 4"}]


@pytest.mark.parametrize(("score", "route"), [(9, "hot"), (5, "warm"), (1, "cold")])
def test_router_takes_the_first_case_that_holds(score: int, route: str) -> None:
    fields = {"cases": [*CASES, {"route": "late", "when": "inputs.score > 4"}], "default": "cold"}
    assert execute("router", fields, {"inputs": {"score": score}}) == Succeeded(output=INPUT, route=route)


def test_router_does_not_look_behind_the_case_that_holds() -> None:
    cases = [{"route": "hot", "when": "true"}, {"route": "broken", "when": "inputs.nope"}]
    assert execute("router", {"cases": cases}) == Succeeded(output=INPUT, route="hot")


def test_router_without_a_case_that_holds_and_without_default_selects_no_route() -> None:
    assert execute("router", {"cases": CASES}, {"inputs": {"score": 0}}) == Succeeded(output=INPUT)


@pytest.mark.parametrize(
    ("when", "code"),
    [("inputs.name", ErrorCode.VALIDATION), ("inputs.nope == 1", ErrorCode.UNRESOLVED_REFERENCE)],
)
def test_router_fails_where_a_case_is_neither_true_nor_false(when: str, code: ErrorCode) -> None:
    fields = {"cases": [{"route": "x", "when": when}], "default": "y"}
    assert error(execute("router", fields))[0] is code


def test_the_routes_that_can_be_selected_are_known_at_write_time() -> None:
    condition, router = node_type("condition").routes, node_type("router").routes
    assert condition is not None
    assert router is not None
    assert condition({"expression": "true"}) == ("true", "false")
    assert router({"cases": CASES}) == ("hot", "warm")
    assert router({"cases": [*CASES, CASES[0]], "default": "cold"}) == ("hot", "warm", "cold")


def test_emit_tells_its_data_or_its_input() -> None:
    told = Emitted(type="deal.signed", data=[1])
    fields = {"event": "deal.signed", "data": [1]}
    assert execute("emit", fields) == Succeeded(output=fields, emits=(told,))
    told = Emitted(type="deal.signed", data=INPUT)
    output = {"event": "deal.signed", "data": INPUT}
    assert execute("emit", {"event": "deal.signed"}) == Succeeded(output=output, emits=(told,))


@pytest.mark.parametrize("event", ["run.completed", "plain", "", None, 1, "deal.signed\n"])
def test_emit_refuses_what_is_no_name_of_an_own_event(event: Any) -> None:
    assert error(execute("emit", {"event": event, "data": 1}))[0] is ErrorCode.VALIDATION
