"""Approvals as callers see them: the inbox, and one with its votes. Source: spec "http-api", GET /api/approvals."""

from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from models.approval import ApprovalVote
from models.errors import NotFoundError
from models.queries import approvals
from models.queries.approvals import ApprovalFilter as ApprovalFilter
from models.queries.approvals import Found
from orchestrator.services import paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment


def approval(deps: Deps, actor: Actor, approval_id: str) -> dict[str, Any]:
    """An approval with its votes. Raises NotFoundError."""
    with deps.db.read() as session:
        found = approvals.find(session, actor.workspace_id, approval_id)
        if found is None:
            raise NotFoundError(f"There is no approval {approval_id!r}")
        return _view(found, approvals.votes(session, [found.row.id])[found.row.id])


def page(deps: Deps, actor: Actor, wanted: ApprovalFilter, request: PageRequest) -> dict[str, Any]:
    """Approvals, newest first."""
    scope = ["approvals", actor.workspace_id, asdict(wanted)]
    before = request.after(scope)
    with deps.db.read() as session:
        rows = approvals.page(session, actor.workspace_id, wanted, before=before, limit=request.limit + 1)
        votes = approvals.votes(session, [found.row.id for found in rows])
        return paging.page(
            rows,
            request,
            scope,
            place=lambda found: found.row.id,
            show=lambda found: _view(found, votes[found.row.id]),
        )


def in_session(session: Session, approval_id: str) -> dict[str, Any]:
    """An approval that is there, as this transaction sees it."""
    found = approvals.find(session, None, approval_id)
    assert found is not None
    return _view(found, approvals.votes(session, [approval_id])[approval_id])


def _view(found: Found, votes: list[ApprovalVote]) -> dict[str, Any]:
    row = found.row
    return {
        "id": row.id,
        "run_id": row.run_id,
        "workflow": found.workflow,
        "step": row.step,
        "attempt": row.attempt,
        "title": row.title,
        "form": row.form,
        "assignees": row.assignees,
        "required": row.required,
        "on_expiry": row.on_expiry,
        "status": found.status,
        "decision": row.decision,
        "votes": [_vote(vote) for vote in votes],
        "requested_at": moment(row.requested_at),
        "expires_at": moment(row.expires_at),
        "decided_at": moment(row.decided_at),
    }


def _vote(vote: ApprovalVote) -> dict[str, Any]:
    return {
        "by": vote.name,
        "decision": vote.decision,
        "comment": vote.comment,
        "data": vote.data,
        "at": moment(vote.voted_at),
    }
