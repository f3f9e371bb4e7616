"""JSON Schema (draft 2020-12): is a schema valid, and what is wrong with a value under it.

Source: spec "dependencies" §5. No reference leaves the schema: nothing is ever fetched.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from models.errors import Problem
from orchestrator.core import schema_cost, untrusted
from orchestrator.core.pointer import child

MAX_DEPTH = 200
MAX_PROBLEMS = 100
_MESSAGE_LENGTH = 300
_THOROUGH = 20_000  # checks; with more of them an error each (22 µs) would take seconds


def check(schema: Any) -> list[str]:
    """Why `schema` is no usable draft 2020-12 schema, a sentence each; empty when it is one."""
    bad = untrusted.problem(schema, max_nesting=MAX_DEPTH)
    if bad is not None:
        return [_clip(f"{bad.message} (at {bad.pointer or '/'})")]
    try:
        _validator(schema)
    except (ValueError, TypeError) as error:
        return [_refusal(error)]
    return []


def problems(schema: Any, instance: Any, pointer: str = "") -> list[Problem]:
    """All that is wrong with `instance`, at most 100 problems, or one where it is very large; `pointer` is
    where the instance stands.

    Codes: MISSING_FIELD (the pointer says where it should be), UNKNOWN_FIELD, INVALID_TYPE, INVALID_VALUE,
    TOO_DEEP, INVALID_SCHEMA. Never raises.
    """
    bad = untrusted.problem(instance, max_nesting=MAX_DEPTH, pointer=pointer)
    if bad is not None:
        return [bad]
    wrong = check(schema)
    if wrong:
        return [Problem(pointer=pointer, code="INVALID_SCHEMA", message=message) for message in wrong]
    effort = schema_cost.work(schema, instance)
    if effort > schema_cost.MAX_WORK:
        message = (
            f"it takes more than {schema_cost.MAX_WORK:,} checks; make the schema's references branch less"
        )
        return [Problem(pointer=pointer, code="INVALID_SCHEMA", message=message)]
    return _found(_validator(schema), instance, pointer, thorough=effort <= _THOROUGH)


def _found(
    validator: jsonschema_rs.Draft202012Validator, instance: Any, pointer: str, *, thorough: bool
) -> list[Problem]:
    found: dict[Problem, None] = {}
    try:
        if thorough:
            for error in validator.iter_errors(instance):
                found.update(dict.fromkeys(_problems(error, pointer)))
        else:
            validator.validate(instance)
    except jsonschema_rs.ValidationError as error:
        return list(_problems(error, pointer))
    except ValueError as error:
        return [Problem(pointer=pointer, code="INVALID_SCHEMA", message=_clip(str(error)))]
    return list(found)[:MAX_PROBLEMS]


def _validator(schema: Any) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, retriever=_refuse)


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is outside of the schema; copy what it refers to under $defs")


def _refusal(error: Exception) -> str:
    if isinstance(error, jsonschema_rs.ValidationError):
        return f"at {_path(error.instance_path) or '/'}: {_clip(error.message)}"
    return _clip(str(error))


def _problems(error: jsonschema_rs.ValidationError, pointer: str) -> Iterator[Problem]:
    at = pointer + _path(error.instance_path)
    kind = error.kind
    if isinstance(kind, Kind.Required):
        name = str(kind.property)
        yield Problem(pointer=child(at, name), code="MISSING_FIELD", message=f"{name!r} is required")
    elif isinstance(kind, (Kind.AdditionalProperties, Kind.UnevaluatedProperties)):
        for name in kind.unexpected:
            message = f"{name!r} is not known here; remove it"
            yield Problem(pointer=child(at, name), code="UNKNOWN_FIELD", message=message)
    else:
        code = "INVALID_TYPE" if isinstance(kind, Kind.Type) else "INVALID_VALUE"
        yield Problem(pointer=at, code=code, message=_clip(error.message))


def _path(steps: Sequence[str | int]) -> str:
    return reduce(child, steps, "")


def _clip(text: str) -> str:
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"
