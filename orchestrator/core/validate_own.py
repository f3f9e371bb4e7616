"""A node's own fields, by what its type says of them. Source: spec "definition", Node types, Values."""

from collections.abc import Mapping
from typing import Any

from orchestrator.core import schema, transforms
from orchestrator.core.fields import (
    Check,
    anything,
    boolean,
    choice,
    duration,
    entries,
    fields,
    integer,
    is_a,
    items,
    number,
    text,
)
from orchestrator.core.nodetype import Field, FieldKind
from orchestrator.core.report import Code, Report

_LONGEST_TEXT = 1 << 20
_INTEGERS = 1 << 53


def _object(report: Report, pointer: str, value: Any) -> None:
    is_a(report, pointer, value, dict)


def _list(report: Report, pointer: str, value: Any) -> None:
    is_a(report, pointer, value, list)


def _jsonata(report: Report, pointer: str, value: Any) -> None:
    before = report.count
    text(transforms.MAX_LENGTH)(report, pointer, value)
    for message in transforms.check(value) if report.count == before else ():
        report.add(pointer, Code.INVALID_EXPRESSION, f"this is no JSONata: {message}")


_DURATION = duration()


def _duration(report: Report, pointer: str, value: Any) -> None:
    resolved_later = isinstance(value, str) and "{{" in value
    (anything if resolved_later else _DURATION)(report, pointer, value)


def json_schema(report: Report, pointer: str, value: Any) -> None:
    """A JSON Schema."""
    if is_a(report, pointer, value, dict, bool):
        for message in schema.check(value):
            report.add(pointer, Code.INVALID_SCHEMA, f"this is no JSON Schema of draft 2020-12: {message}")


# That an expression compiles is checked with its names, in validate_references.
_EXPRESSION = text(4_096)
_CHECKS: Mapping[FieldKind, Check] = {
    FieldKind.NAME: text(200),
    FieldKind.STRING: text(_LONGEST_TEXT, empty=True),
    FieldKind.OBJECT: _object,
    FieldKind.LIST: _list,
    FieldKind.VALUE: anything,
    FieldKind.INTEGER: integer(-_INTEGERS, _INTEGERS),
    FieldKind.NUMBER: number(-_INTEGERS, _INTEGERS),
    FieldKind.BOOLEAN: boolean,
    FieldKind.DURATION: _duration,
    FieldKind.SCHEMA: json_schema,
    FieldKind.EXPRESSION: _EXPRESSION,
    FieldKind.JSONATA: _jsonata,
    FieldKind.BODY: fields({"nodes": anything, "edges": anything}, ("nodes",), what="a body"),
    FieldKind.BODY_VALUE: anything,
    FieldKind.BODY_EXPRESSION: _EXPRESSION,
    FieldKind.CASES: items(
        fields({"route": text(64), "when": _EXPRESSION}, ("route", "when"), what="a case"), least=1
    ),
}


def own_check(field: Field) -> Check:
    """The check of one own field of a node type."""
    check = _CHECKS[field.kind]
    if field.keys:
        return fields(dict.fromkeys(field.keys, anything), what=field.name)
    if field.key_pattern is not None:
        return entries(field.key_pattern, f"write what matches {field.key_pattern}", anything)
    if not field.choices:
        return check
    allowed = choice(*field.choices)

    def check_choice(report: Report, pointer: str, value: Any) -> None:
        resolved_later = field.kind is not FieldKind.NAME and isinstance(value, str) and "{{" in value
        (check if resolved_later else allowed)(report, pointer, value)

    return check_choice
