"""The client's shapes are those of the API's own description: same members, same types."""

import types
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from api.app import create_app
from models.database import Database
from orchestrator.client import (
    agent_answers,
    answers,
    audit_answers,
    hook_answers,
    schedule_answers,
    webhook_answers,
    workflow_answers,
)
from tests.support import engine

SHAPES = {
    name: shape
    for module in (
        *(agent_answers, answers, audit_answers, hook_answers),
        *(schedule_answers, webhook_answers, workflow_answers),
    )
    for name, shape in vars(module).items()
    if is_typeddict(shape)
}
ELSEWHERE = {"StepWithAttempts": "Step"}


SCHEMAS: dict[str, Any] = {}


@pytest.fixture
def schemas(database: Database) -> dict[str, Any]:
    """Those of the API's description, which is made once."""
    if not SCHEMAS:
        app = create_app(engine.make(database).deps, send=lambda _effects: None, broker_answers=lambda: True)
        SCHEMAS.update(app.test_client().get("/api/openapi.json").get_json()["components"]["schemas"])
    return SCHEMAS


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_the_apis(name: str, schemas: dict[str, Any]) -> None:
    shape, schema = SHAPES[name], schemas[name]
    hints = get_type_hints(shape, include_extras=True)
    assert set(hints) == set(schema["properties"]), f"{shape.__module__}.{name} is not as the API's"
    assert shape.__required_keys__ == set(schema.get("required", ())) & set(hints)
    for member, hint in hints.items():
        if get_origin(hint) is NotRequired:
            (hint,) = get_args(hint)
        assert fits(hint, schema["properties"][member]), f"{name}.{member}: {schema['properties'][member]}"


def fits(hint: Any, schema: dict[str, Any]) -> bool:
    """Whether a type hint says what a schema says."""
    if hint is Any:
        return "type" not in schema and "$ref" not in schema
    if get_origin(hint) in (Union, types.UnionType):
        some = [part for part in get_args(hint) if part is not type(None)]
        return nullable(schema) and all(fits(part, bare(schema)) for part in some)
    if nullable(schema):
        return False
    if get_origin(hint) is Literal:
        return set(get_args(hint)) == set(schema["enum"])
    if is_typeddict(hint):
        return bool(schema["$ref"].rpartition("/")[2] == hint.__name__)
    if get_origin(hint) is list:
        return schema["type"] == "array" and fits(get_args(hint)[0], schema["items"])
    named = {str: "string", int: "integer", bool: "boolean", dict: "object", float: "number"}
    return schema.get("type", "object") == named[get_origin(hint) or hint]


def nullable(schema: dict[str, Any]) -> bool:
    return bare(schema) != schema


def bare(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without its null."""
    if isinstance(schema.get("type"), list):
        left = [kind for kind in schema["type"] if kind != "null"]
        words = {"enum": [word for word in schema["enum"] if word is not None]} if "enum" in schema else {}
        return {**schema, **words, "type": left[0] if len(left) == 1 else left}
    for word in ("anyOf", "oneOf"):
        if {"type": "null"} in schema.get(word, ()):
            (left,) = [each for each in schema[word] if each != {"type": "null"}]
            return dict(left)
    return schema
