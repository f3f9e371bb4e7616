"""What was sent through a schema; every mistake with its pointer and code."""

from collections.abc import Iterator
from typing import Any

from marshmallow import Schema, ValidationError, fields
from werkzeug.datastructures import MultiDict

from models.errors import InvalidError, Problem
from orchestrator.core import untrusted
from orchestrator.core.pointer import child

_CODES = {
    "Missing data for required field.": "MISSING_FIELD",
    "Unknown field.": "UNKNOWN_FIELD",
    "Field may not be null.": "INVALID_TYPE",
    "Invalid input type.": "INVALID_TYPE",
    "Invalid type.": "INVALID_TYPE",
}
_CODES_BY_START = {
    "Not a valid": "INVALID_TYPE",
    "A key has": "INVALID_NAME",
    "A name has": "INVALID_NAME",
    "A duration is": "INVALID_DURATION",
    "No CEL": "INVALID_EXPRESSION",
}


def body(schema: Schema, data: Any) -> dict[str, Any]:
    """A body's object. Raises InvalidError with every problem."""
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as error:
        raise _refused(schema, error) from error
    return loaded


def query(schema: Schema, given: MultiDict[str, str]) -> dict[str, Any]:
    """The parameters of a query, each once but lists. Raises InvalidError with every problem."""
    data: dict[str, Any] = {}
    for name, values in given.lists():
        bad = untrusted.problem([name, *values], max_nesting=2, pointer=f"/{name}")
        if bad is not None:
            raise InvalidError(bad.message, [bad])
        field = schema.fields.get(name)
        data[name] = values if isinstance(field, fields.List) else values[-1]
    return body(schema, data)


def _refused(schema: Schema, error: ValidationError) -> InvalidError:
    known = ", ".join(sorted(schema.fields)) or "none"
    problems = [
        Problem(pointer=pointer, code=_code(text), message=_message(pointer, text, known))
        for pointer, text in _flat("", error.messages)
    ]
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return InvalidError(f"The request has {count}; see errors", problems)


def _flat(pointer: str, messages: Any) -> Iterator[tuple[str, str]]:
    if isinstance(messages, dict):
        for key, inner in messages.items():
            yield from _flat(pointer if key == "_schema" else child(pointer, key), inner)
    elif isinstance(messages, list):
        for inner in messages:
            yield from _flat(pointer, inner)
    else:
        yield pointer, str(messages)


def _code(text: str) -> str:
    by_start = (code for start, code in _CODES_BY_START.items() if text.startswith(start))
    return _CODES.get(text) or next(by_start, "INVALID_VALUE")


def _message(pointer: str, text: str, known: str) -> str:
    if text == "Unknown field." and pointer.count("/") == 1:
        return f"There is no field {pointer[1:]!r} here; leave it out, or use one of: {known}"
    return text
