"""`client.approvals`: what people are asked, and their votes."""

from collections.abc import Iterator
from typing import Any, Literal

from orchestrator.client.answers import Approval, ApprovalLink, ApprovalStatus
from orchestrator.client.transport import Transport, segment


class Approvals:
    """Approvals, by id."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        limit: int | None = None,
        *,
        status: ApprovalStatus | Literal["all"] | None = None,
        run: str | None = None,
        assignee: str | None = None,
    ) -> Iterator[Approval]:
        """Approvals, newest first, that fit all that is given; by default those that are open."""
        return self._transport.pages("/api/approvals", limit, status=status, run=run, assignee=assignee)

    def get(self, approval: str) -> Approval:
        """An approval with its votes."""
        found: Approval = self._transport.get(_path(approval))
        return found

    def approve(
        self, approval: str, data: Any = None, *, comment: str | None = None, idempotency_key: str | None = None
    ) -> Approval:
        """Vote for it with the data that its form asks for.

        Raises Invalid for data that the form refuses, Conflict where it is not open or this key has voted.
        """
        return self._vote(approval, "approve", data, comment, idempotency_key)

    def reject(
        self, approval: str, data: Any = None, *, comment: str | None = None, idempotency_key: str | None = None
    ) -> Approval:
        """Vote against it, which decides it. Raises Conflict where it is not open or this key has voted."""
        return self._vote(approval, "reject", data, comment, idempotency_key)

    def link(self, approval: str, name: str, *, idempotency_key: str | None = None) -> ApprovalLink:
        """A token by which `name`, who has no key, votes once: `POST /api/approval-links/{token}/approve`."""
        made: ApprovalLink = self._transport.write(
            "POST", f"{_path(approval)}/links", {"name": name}, idempotency_key=idempotency_key
        )
        return made

    def _vote(
        self, approval: str, action: str, data: Any, comment: str | None, idempotency_key: str | None
    ) -> Approval:
        after: Approval = self._transport.write(
            "POST",
            f"{_path(approval)}/{action}",
            {"data": data, "comment": comment},
            idempotency_key=idempotency_key,
        )
        return after


def _path(approval: str) -> str:
    return f"/api/approvals/{segment(approval)}"
