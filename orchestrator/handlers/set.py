"""The `set` node: writes workflow variables. Source: spec "definition", Node types and Values."""

import re
from typing import Any, ClassVar

from models.errors import ErrorCode
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError, Succeeded
from orchestrator.ports import Parts, StepContext

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class SetHandler:
    """Output: its input, so that chaining goes through; the values become variables."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="set",
        fields=(Field(name="values", kind=FieldKind.OBJECT, required=True, key_pattern=_KEY.pattern),),
        inline=True,
        passes=True,
        shape=(">", "]"),
    )

    def __init__(self, parts: Parts) -> None:
        """Needs no part."""

    def execute(self, ctx: StepContext) -> Outcome:
        """Succeeds with `variables`; fails with VALIDATION when a key is no name of a variable."""
        values: Any = ctx.fields.get("values")
        if not isinstance(values, dict):
            return _refused(f"values must be an object of variables, not {type(values).__name__}")
        wrong = [key for key in values if not isinstance(key, str) or not _KEY.fullmatch(key)]
        if wrong:
            return _refused(
                f"{wrong[0]!r} is no name of a variable; write letters, digits and _, at most 64, no digit first"
            )
        return Succeeded(output=ctx.input, variables=dict(values))


def _refused(message: str) -> Failed:
    return Failed(error=StepError.of(ErrorCode.VALIDATION, message))
