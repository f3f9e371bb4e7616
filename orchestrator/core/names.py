"""The names that a definition's values and conditions use, with where each stands.

Source: spec "definition", Values.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.core import conditions, values
from orchestrator.core.condition_names import read
from orchestrator.core.report import Code, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A root that is used at a pointer, and the first field taken from it, if any."""

    pointer: str
    root: str
    field: str | None


def in_value(report: Report, pointer: str, value: Any) -> Iterator[Name]:
    """The names in every `{{ … }}` of a value; expressions that don't compile are reported."""
    for reference in values.references(value, pointer):
        if reference.is_path:
            field = str(reference.path[0]) if reference.path else None
            yield Name(pointer=reference.pointer, root=reference.root, field=field)
        elif reference.text:
            yield from in_expression(report, reference.pointer, reference.text)
        else:
            message = "there is nothing between {{ and }}; name a value, or write {{'{{'}} for the braces"
            report.add(reference.pointer, Code.INVALID_EXPRESSION, message)


def in_expression(report: Report, pointer: str, expression: Any, *, boolean: bool = False) -> Iterator[Name]:
    """The names in a CEL expression; one that doesn't compile is reported and names nothing."""
    if not isinstance(expression, str) or not expression.strip() or len(expression) > conditions.MAX_LENGTH:
        return  # no text, or one whose length is reported with its field
    wrong = conditions.check(expression, conditions.roots(expression), boolean=boolean)
    for message in wrong:
        report.add(pointer, Code.INVALID_EXPRESSION, f"this is no CEL expression: {message}")
    if wrong:
        return
    seen: set[tuple[str, str | None]] = set()
    for use in read(expression).uses:
        field = use.path[0] if use.path else None
        if (use.root, field) not in seen:
            seen.add((use.root, field))
            yield Name(pointer=pointer, root=use.root, field=field)
