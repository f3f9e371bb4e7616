"""Schemas: all problems with their place, nothing fetched, nothing that a hostile schema can stop."""

import socket
import threading
import time
from typing import Any

import pytest

from orchestrator.core import schema_cost
from orchestrator.core.schema import check, problems

LEAD = {
    "type": "object",
    "required": ["name", "a/b"],
    "properties": {
        "name": True,
        "a/b": True,
        "amount": {"type": "integer", "minimum": 1},
        "mail": {"type": "string", "format": "email"},
        "~tags": {"type": "array", "items": {"type": "string", "maxLength": 3}},
    },
    "additionalProperties": False,
}
ANY_JSON = {
    "$defs": {
        "json": {
            "anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": {"$ref": "#/$defs/json"}},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/json"}},
            ]
        }
    },
    "$ref": "#/$defs/json",
}


def places(schema: Any, instance: Any) -> set[tuple[str, str]]:
    return {(problem.pointer, problem.code) for problem in problems(schema, instance, "/inputs")}


def nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = [inner]
    return inner


def doubling(depth: int) -> dict[str, Any]:
    rules: dict[str, Any] = {"a0": {"type": "string"}}
    for level in range(1, depth):
        rules[f"a{level}"] = {"allOf": [{"$ref": f"#/$defs/a{level - 1}"}] * 2}
    return {"$defs": rules, "$ref": f"#/$defs/a{depth - 1}"}


def test_all_problems_are_reported_at_their_place() -> None:
    instance = {"amount": "x", "mail": "no", "~tags": ["ok", "long"], "extra": 1, "more": 2}
    assert places(LEAD, instance) == {
        ("/inputs/name", "MISSING_FIELD"),
        ("/inputs/a~1b", "MISSING_FIELD"),
        ("/inputs/amount", "INVALID_TYPE"),
        ("/inputs/mail", "INVALID_VALUE"),
        ("/inputs/~0tags/1", "INVALID_VALUE"),
        ("/inputs/extra", "UNKNOWN_FIELD"),
        ("/inputs/more", "UNKNOWN_FIELD"),
    }


def test_a_valid_value_has_no_problem() -> None:
    assert problems(LEAD, {"name": 1, "a/b": 2, "mail": "a@b.example", "~tags": []}) == []
    assert problems(True, {"anything": [1]}) == []
    assert [problem.pointer for problem in problems(False, 1)] == [""]


def test_unevaluated_properties_are_unknown_fields() -> None:
    schema = {"properties": {"a": True}, "unevaluatedProperties": False}
    assert places(schema, {"a": 1, "b": 1}) == {("/inputs/b", "UNKNOWN_FIELD")}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "strin"}, "/type"),
        ({"properties": {"a": {"minimum": "x"}}}, "/properties/a/minimum"),
        ({"pattern": "("}, "/pattern"),
        ({"$ref": "#/$defs/no"}, "/$defs/no"),
        ([1], "boolean"),
        (None, "null"),
        ({"const": float("nan")}, "nan"),
        ({"title": "\x00"}, "NUL"),
        (nested(5_000, {}), "nested"),
    ],
)
def test_an_invalid_schema_is_told(schema: Any, says: str) -> None:
    assert says in check(schema)[0]
    assert problems(schema, {})[0].code == "INVALID_SCHEMA"


def test_nothing_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        host, port = server.getsockname()
        for reference in (f"http://{host}:{port}/x", "file:///etc/hostname"):
            schema = {"$ref": reference}
            assert "outside of the schema" in check(schema)[0]
            assert problems(schema, 1)[0].code == "INVALID_SCHEMA"
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        (doubling(40), 1),
        ({"$ref": "#"}, 1),
        ({"allOf": [{"$dynamicRef": "#x"}], "$dynamicAnchor": "x"}, 1),
        ({"anyOf": [{"items": {"$ref": "#"}, "type": "array"}, {"items": {"$ref": "#"}}]}, nested(60, 1)),
        ({"$id": "http://e.example/s", "$defs": doubling(40)["$defs"], "$ref": "#/$defs/a39"}, 1),
        ({"allOf": [{"items": {"minimum": 0}}] * 500}, [1] * 1_000),
    ],
)
def test_a_schema_that_branches_without_end_is_refused_in_time(schema: Any, instance: Any) -> None:
    started = time.process_time()
    assert problems(schema, instance)[0].code == "INVALID_SCHEMA"
    assert time.process_time() - started < 5


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", r"^(a+)+\1$"])
def test_a_pattern_cannot_hold_the_process(pattern: str) -> None:
    started = time.process_time()
    assert problems({"pattern": pattern}, "a" * 40 + "b") != []
    assert time.process_time() - started < 2


def test_recursion_as_people_write_it_is_allowed() -> None:
    tree: Any = "leaf"
    for _ in range(30):
        tree = {"left": [tree], "right": 1}
    assert problems(ANY_JSON, tree) == []
    assert problems({"$ref": "https://json-schema.org/draft/2020-12/schema"}, LEAD) == []


def test_too_deep_an_instance_is_refused() -> None:
    assert places({}, nested(20_000, 1)) == {("/inputs" + "/0" * 200, "TOO_DEEP")}


def test_a_long_list_is_checked_quickly() -> None:
    schema = {"type": "array", "items": {"type": "string"}}
    assert problems(schema, ["x"] * 50_000) == []
    started = time.process_time()
    assert len(problems(schema, [1] * 50_000)) == 1
    assert time.process_time() - started < 3
    assert len(problems(schema, [1] * 500)) == 100


def test_work_is_counted_as_an_upper_bound() -> None:
    assert schema_cost.work({"type": "string"}, "x") == 1
    assert schema_cost.work({"items": {"type": "string"}}, ["x"] * 10) == 11
    assert schema_cost.work(LEAD, {"amount": 1, "x": 1}) == 4
    assert schema_cost.work(doubling(60), 1) == schema_cost.MAX_WORK + 1


def test_many_threads_share_nothing() -> None:
    wrong: list[Any] = []

    def work(limit: int) -> None:
        schema = {"maximum": limit}
        wrong.extend((limit, v) for v in range(200) if (problems(schema, v) == []) != (v <= limit))

    threads = [threading.Thread(target=work, args=(limit,)) for limit in range(0, 160, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
