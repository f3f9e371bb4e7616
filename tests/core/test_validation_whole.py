"""Validation as a whole: everything at once, one problem for one mistake, and nothing else ever raised."""

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidError
from orchestrator.core.document import Limits
from orchestrator.core.report import MAX_PROBLEMS
from tests.support.definitions import compiled, noop, problems, refusal, workflow, wrong

TWELVE_MISTAKES = """\
name: Twelve mistakes
colour: red
timeout: soon
inputs: {type: strng}
nodes:
  - {id: a, type: noop}
  - {id: a, type: noop}
  - {id: b, type: transform}
  - {id: c, type: llm}
  - {id: e, type: condition, expression: "1 +"}
  - {id: f, type: set, values: {x: "{{ghost.y}}"}}
  - {id: h, type: noop, priority: high}
  - {id: i, type: noop}
  - {id: j, type: noop}
edges:
  - i >> j >> i
  - a >> nowhere
"""


def test_twelve_mistakes_are_twelve_problems() -> None:
    found = [(problem.pointer, problem.code, problem.line) for problem in problems(TWELVE_MISTAKES)]
    assert sorted(found) == [
        ("/colour", "UNKNOWN_FIELD", 2),
        ("/edges/0", "CYCLE", 16),
        ("/edges/1", "DANGLING_EDGE", 17),
        ("/inputs", "INVALID_SCHEMA", 4),
        ("/name", "INVALID_NAME", 1),
        ("/nodes/1/id", "DUPLICATE_ID", 7),
        ("/nodes/2/expression", "MISSING_FIELD", 8),
        ("/nodes/3/type", "UNSUPPORTED_NODE_TYPE", 9),
        ("/nodes/4/expression", "INVALID_EXPRESSION", 10),
        ("/nodes/5/values/x", "UNRESOLVED_REFERENCE", 11),
        ("/nodes/6/priority", "INVALID_TYPE", 12),
        ("/timeout", "INVALID_DURATION", 3),
    ]


def test_each_message_says_how_to_mend_it() -> None:
    for problem in problems(TWELVE_MISTAKES):
        assert len(problem.message) > 20, problem


def test_json_sources_have_no_lines() -> None:
    assert [problem.line for problem in problems({"name": "x"})] == [None]


@pytest.mark.parametrize("data", [None, 1, "text", [], True])
def test_a_definition_is_an_object(data: Any) -> None:
    assert wrong(data) == [("", "INVALID_TYPE")]


def test_an_empty_definition_lacks_name_and_nodes() -> None:
    assert wrong({}) == [("/name", "MISSING_FIELD"), ("/nodes", "MISSING_FIELD")]


def test_without_nodes_the_edges_are_not_blamed() -> None:
    assert wrong({"name": "x", "nodes": [], "edges": ["a >> b"]}) == [("/nodes", "INVALID_VALUE")]
    assert wrong({"name": "x", "edges": ["a >> b"]}) == [("/nodes", "MISSING_FIELD")]


def test_too_many_nodes_are_refused() -> None:
    error = refusal(workflow(*(noop(f"n{n}") for n in range(11))), limits=Limits(max_nodes=10))
    assert [(problem.pointer, problem.code) for problem in error.problems] == [("/nodes", "TOO_LARGE")]


def test_ten_thousand_nodes_are_validated_in_seconds() -> None:
    nodes = [
        {
            "id": f"n{n}",
            "type": "agent",
            "agent": "x",
            "input_mapping": {"v": f"{{{{n{max(0, n - 1)}.output?}}}}"},
        }
        for n in range(1, 10_000)
    ]
    edges = [
        {"from": f"n{n}", "to": f"n{m}"} for n in range(10_000) for m in (n + 1, n + 7, n + 100) if m < 10_000
    ]
    began = time.process_time()
    plan = compiled(workflow(noop("n0"), *nodes, edges=edges)).plan
    assert time.process_time() - began < 10
    assert (len(plan.nodes), len(plan.levels)) == (10_000, 10_000)


def test_ten_thousand_mistakes_take_seconds_and_are_cut() -> None:
    nodes = [{"id": f"node_number_{n}", "type": "nop", "tineout": 1} for n in range(9_000)]
    edges = [f"node_numbr_{n} >> other_{n}" for n in range(5_000)]
    began = time.process_time()
    found = problems(workflow(*nodes, edges=edges))
    assert time.process_time() - began < 10
    assert len(found) == MAX_PROBLEMS + 1
    assert (found[-1].pointer, found[-1].code) == ("", "TOO_LARGE")


def test_a_chain_of_large_groups_is_refused() -> None:
    names = [[f"{group}{n}" for n in range(1_000)] for group in "ab"]
    chain = " >> ".join(f"[{', '.join(group)}]" for group in names)
    began = time.process_time()
    assert wrong(workflow(*map(noop, [*names[0], *names[1]]), edges=[chain])) == [("/edges/0", "TOO_LARGE")]
    assert time.process_time() - began < 10


VALID: dict[str, Any] = {
    "name": "everything",
    "description": "all that a definition may hold",
    "inputs": {"type": "object", "properties": {"id": {"type": "string"}}},
    "outputs": {"found": "{{join.value?}}"},
    "variables": {"region": "eu"},
    "duration": "hours",
    "labels": {"team": "sales"},
    "budget": {"limit_cents": 500, "on_exceeded": "pause"},
    "timeout": "2h",
    "on_failure": "continue",
    "retry": {"max_attempts": 2},
    "nodes": [
        {"id": "start", "type": "set", "values": {"who": "{{inputs.id}}"}},
        {"id": "ask", "type": "agent", "agent": "a", "task": {"title": "{{var.who}}"}, "fallback": "late"},
        {
            "id": "call",
            "type": "http",
            "url": "http://x/{{start.id}}",
            "idempotency_key": "{{inputs.id}}-call",
        },
        {
            "id": "which",
            "type": "router",
            "cases": [{"route": "a", "when": "ask.text == 'x'"}],
            "default": "b",
        },
        {"id": "is_it", "type": "condition", "expression": "call.status == 200"},
        {"id": "late", "type": "transform", "expression": "$", "when": "inputs.id != ''", "systems": ["crm"]},
        {"id": "join", "type": "noop", "join": {"at_least": 2}, "retry": {"policy": "never"}, "timeout": 5},
    ],
    "edges": [
        "start >> [ask, call]",
        "ask >> which",
        {"from": "call", "to": "is_it"},
        {"from": "which", "to": "join", "route": "a"},
        {"from": "which", "to": "late", "handle": "else"},
        {"from": "is_it", "to": "join", "handle": "router", "route": True},
        {"from": "is_it", "to": "late", "when": "start.id == 'y'"},
    ],
}


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, inner in items for found in _places(inner, (*place, key)))]


PLACES = _places(VALID)[1:]
JUNK = st.sampled_from(
    [
        *(
            None,
            True,
            0,
            -1,
            1.5,
            10**15,
            "",
            " ",
            "x",
            "{{",
            "{{}}",
            "{{ghost.x}}",
            "{{1 +}}",
            "{{start.x}}",
        ),
        *(
            [],
            {},
            [[]],
            [None],
            {"": None},
            {"x": {"y": []}},
            "a >> b",
            "a >>",
            ">>",
            "[a] >> b",
            "start >> start",
        ),
        *("none", "loop", "router", "300d", "1e9s", "{{env.X}}", "{{inputs", "(((((", "start", "is_it"),
    ]
)


@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(["replace", "remove", "add"]), JUNK), max_size=4
    )
)
@settings(deadline=None)
def test_a_mutation_is_accepted_or_refused_and_nothing_else(
    changes: list[tuple[tuple[Any, ...], str, Any]],
) -> None:
    data = copy.deepcopy(VALID)
    for place, how, junk in changes:
        _change(data, place, how, junk)
    try:
        result = compiled(data)
    except InvalidError as error:
        pointers = [problem.pointer for problem in error.problems]
    else:
        json.dumps(result.plan.to_json(), allow_nan=False)
        return
    assert pointers
    assert all(pointer == "" or pointer.startswith("/") for pointer in pointers)


def _change(data: Any, place: tuple[Any, ...], how: str, junk: Any) -> None:
    for key in place[:-1]:
        if not isinstance(data, dict | list) or (isinstance(data, dict) and key not in data):
            return
        if isinstance(data, list) and (not isinstance(key, int) or key >= len(data)):
            return
        data = data[key]
    last = place[-1]
    if isinstance(data, dict):
        if how == "remove":
            data.pop(last, None)
        else:
            data[last if how == "replace" else "colour"] = copy.deepcopy(junk)
    elif isinstance(data, list) and isinstance(last, int) and last < len(data):
        if how == "remove":
            del data[last]
        else:
            data[last : last + (how == "replace")] = [copy.deepcopy(junk)]


def test_the_valid_one_is_valid() -> None:
    assert compiled(VALID).classification["class"] == "medium"
