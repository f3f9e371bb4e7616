"""What the API answers of the audit log, as typed dictionaries."""

from typing import Any, TypedDict

# `from` is no name that a class could have
AuditChange = TypedDict("AuditChange", {"field": str, "from": Any, "to": Any})


class Seal(TypedDict):
    """A link of the chain: `digest` is of `previous` and of all else that the act says."""

    position: int
    digest: str
    previous: str


class Act(TypedDict):
    """What somebody did; `before` and `after` are digests, `seal` is None until the sweep has come by."""

    id: str
    workspace_id: str
    at: str
    actor_id: str
    actor: str
    source: str | None
    action: str
    target: str
    reason: str | None
    before: str | None
    after: str | None
    changes: list[AuditChange]
    seal: Seal | None
