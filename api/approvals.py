"""`/api/approvals`: the inbox, votes, and links by which somebody without a key votes once."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import people as schemas
from orchestrator.core.people import Verdict
from orchestrator.services import approval_links, approval_views, approvals
from orchestrator.services.approval_views import ApprovalFilter

bp = Nouns("approvals", __name__, url_prefix="/api", tag="approvals")


@bp.get("/approvals")
@bp.view("read", query=schemas.ApprovalsQuery, returns=schemas.Approvals)
def list_approvals(call: Call) -> Any:
    """List approvals, newest first; by default those that are open."""
    given = {key: value for key, value in call.query.items() if key not in ("limit", "cursor", "status")}
    status = None if call.query["status"] == "all" else call.query["status"]
    return approval_views.page(call.deps, call.actor, ApprovalFilter(status=status, **given), call.page())


@bp.get("/approvals/<approval>")
@bp.view("read", returns=schemas.Approval)
def get_approval(call: Call, approval: str) -> Any:
    """Read an approval with its votes."""
    return approval_views.approval(call.deps, call.actor, approval)


@bp.post("/approvals/<approval>/approve")
@bp.view("operate", body=schemas.VoteBody, returns=schemas.Approval)
def approve(call: Call, approval: str) -> Any:
    """Vote for it; one vote a key."""
    return _vote(call, approval, Verdict.APPROVED)


@bp.post("/approvals/<approval>/reject")
@bp.view("operate", body=schemas.VoteBody, returns=schemas.Approval)
def reject(call: Call, approval: str) -> Any:
    """Vote against it, which decides it."""
    return _vote(call, approval, Verdict.REJECTED)


@bp.post("/approvals/<approval>/links")
@bp.view("operate", body=schemas.LinkBody, returns=schemas.ApprovalLink, status=201)
def create_approval_link(call: Call, approval: str) -> Any:
    """Make a link for one vote of somebody without a key."""
    return approval_links.create(call.deps, call.actor, approval, call.body["name"], call.once)


@bp.get("/approval-links/<token>")
@bp.open_view(returns=schemas.LinkedApproval)
def read_approval_link(call: Call, token: str) -> Any:
    """Read what a link asks; decides nothing."""
    return approval_links.read(call.deps, token)


@bp.post("/approval-links/<token>/approve")
@bp.open_view(body=schemas.VoteBody, returns=schemas.LinkedVote)
def approve_by_link(call: Call, token: str) -> Any:
    """Vote for it by a link, once."""
    return _vote_by_link(call, token, Verdict.APPROVED)


@bp.post("/approval-links/<token>/reject")
@bp.open_view(body=schemas.VoteBody, returns=schemas.LinkedVote)
def reject_by_link(call: Call, token: str) -> Any:
    """Vote against it by a link, once."""
    return _vote_by_link(call, token, Verdict.REJECTED)


def _vote(call: Call, approval: str, decision: Verdict) -> Any:
    voted = approvals.vote(call.deps, call.actor, approval, decision, **call.body, once=call.once)
    call.runtime.send(voted.effects)
    return voted.answer


def _vote_by_link(call: Call, token: str, decision: Verdict) -> Any:
    voted = approval_links.use(call.deps, token, decision, **call.body, source=call.actor.source)
    call.runtime.send(voted.effects)
    return voted.answer
