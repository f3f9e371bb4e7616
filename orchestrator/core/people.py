"""What a parked step waits for from people and from outside: an approval, a signal. Plain data.

Source: spec "definition", Node types; spec "http-api", small print.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MOST_SIGNAL_BYTES = 2_500  # a row of an index of PostgreSQL holds no more than 2,704


class Verdict(StrEnum):
    """A vote, and what votes come to."""

    APPROVED = "approved"
    REJECTED = "rejected"


class OnExpiry(StrEnum):
    """What becomes of an approval that nobody decides in time."""

    REJECT = "reject"  # it counts as rejected; the step fails with EXPIRED
    APPROVE = "approve"
    FAIL = "fail"  # it is not decided; the step fails with EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An approval to be asked for under the id `id`.

    form: JSON Schema of the data that comes with a vote for it. required: how many votes for it are needed; one
    against it is enough.
    """

    id: str
    title: str
    form: Any = None
    assignees: tuple[str, ...] = ()
    required: int = 1
    on_expiry: OnExpiry = OnExpiry.REJECT

    def to_json(self) -> dict[str, Any]:
        return {"title": self.title, "form": self.form, "assignees": list(self.assignees)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A signal to be waited for: one to the run, or, where it has a `key`, to (name, key). schema: of its data."""

    name: str
    key: str | None = None
    schema: Any = None

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "key": self.key, "schema": self.schema}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One vote. `data` None: none came with it."""

    name: str
    decision: Verdict
    comment: str | None = None
    data: Any = None


def is_too_long(*parts: str | None) -> bool:
    """Whether a signal cannot be found by its name, its key and its sender's number, since they are too long."""
    return sum(len(part.encode("utf-8", "surrogatepass")) for part in parts if part) > MOST_SIGNAL_BYTES


def verdict(votes: Sequence[Vote], required: int) -> Verdict | None:
    """What the votes come to: rejected by the first against it, approved by the last that is needed."""
    if any(vote.decision == Verdict.REJECTED for vote in votes):
        return Verdict.REJECTED
    return Verdict.APPROVED if len(votes) >= required else None


def decided(votes: Sequence[Vote], decision: Verdict | None) -> dict[str, Any]:
    """`{decision, data, by}` in the order of the votes: objects are laid over each other, other data replaces."""
    data: Any = {}
    for vote in votes:
        if vote.data is not None:
            both = isinstance(data, dict) and isinstance(vote.data, dict)
            data = data | vote.data if both else vote.data
    return {"decision": decision, "data": data, "by": [vote.name for vote in votes]}
