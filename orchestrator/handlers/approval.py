"""The `approval` node: people decide. Source: spec "definition", Node types and Outputs."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from models.base import uuid7
from models.errors import ErrorCode
from orchestrator.core import durations
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, StepError, Succeeded, Usage, Waiting
from orchestrator.core.people import OnExpiry, Question
from orchestrator.ports import Parked, Parts, StepContext

_LONGEST_NAME = 255
_NAMES = "assignees is a list of names of 1 to 255 characters, each once, or one {{…}}"
_MOST = 1_000


def _are_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MOST
        and all(isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME for name in value)
        and len(set(value)) == len(value)
    )


def _mistakes(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    assignees, required = raw.get("assignees", []), raw.get("required", 1)
    written = isinstance(assignees, str) and "{{" in assignees
    if not written and not _are_names(assignees):
        yield "/assignees", _NAMES
    elif required < 1:
        yield "/required", "required counts votes; write 1 or more"
    elif "assignees" in raw and not written and required > len(assignees):
        yield "/required", f"{required} votes are wanted of {len(assignees)} assignees; ask more, or want fewer"


class ApprovalHandler:
    """Output: `{decision, data, by}`. Rejected is a failure of code REJECTED, too late one of EXPIRED."""

    TYPE: ClassVar[NodeType] = NodeType(
        type="approval",
        fields=(
            Field(name="title", kind=FieldKind.STRING, stored=True),
            Field(name="form", kind=FieldKind.SCHEMA),
            Field(name="assignees", kind=FieldKind.VALUE, stored=True),
            Field(name="required", kind=FieldKind.INTEGER),
            Field(name="expires", kind=FieldKind.DURATION, stored=True),
            Field(name="on_expiry", kind=FieldKind.NAME, choices=tuple(OnExpiry)),
        ),
        people=True,
        mistakes=_mistakes,
        shape=("@{ shape: manual-input, label: ", " }"),
    )

    def __init__(self, parts: Parts) -> None:
        self._people = parts.people

    def execute(self, ctx: StepContext) -> Outcome:
        """Parks; the approval is asked for under the id that is given here."""
        fields = ctx.fields
        assignees = fields.get("assignees") or []
        if not _are_names(assignees):
            return _invalid(f"{_NAMES}; these are {assignees!r:.200}")
        expires = durations.seconds(fields["expires"]) if "expires" in fields else None
        if "expires" in fields and expires is None:
            return _invalid(f"{fields['expires']!r:.200} is no duration; write such as 30m, 2h, 7d")
        title = str(fields.get("title") or f"{ctx.workflow}: {ctx.node_id}")
        question = Question(
            id=uuid7(),
            title=title,
            form=fields.get("form"),
            assignees=tuple(assignees),
            required=fields.get("required", 1),
            on_expiry=OnExpiry(fields.get("on_expiry", OnExpiry.REJECT)),
        )
        return Waiting(reason=f"approval {question.id}: {title}", seconds=expires, asks=question)

    def answer(self, parked: Parked) -> Succeeded | Failed | None:
        """What people, or the time, have decided."""
        return self._people.decision(parked)


def _invalid(message: str) -> Failed:
    return Failed(error=StepError.of(ErrorCode.VALIDATION, message), usage=Usage(cost_microcents=0))
