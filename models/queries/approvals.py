"""Approvals: asked for, found, voted on, decided.

An approval is open while it is undecided and its attempt waits. Votes and decisions are written under the
run's lock (lock order: run, then what belongs to it).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, not_, select, update
from sqlalchemy.orm import Session

from models.approval import Approval, ApprovalAssignee, ApprovalVote
from models.queries.dialect import as_id
from models.queries.runs import now
from models.run import Run
from models.step import Step
from models.workflow import Workflow

STATUSES = ("pending", "approved", "rejected", "expired", "closed")
_WAITS = and_(Step.status == "waiting", Step.attempt == Approval.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An approval as it stands: `waits`, whether its attempt is the one that waits now."""

    row: Approval
    workflow: str
    waits: bool

    @property
    def is_open(self) -> bool:
        return self.row.decided_at is None and self.waits

    @property
    def status(self) -> str:
        """One of STATUSES."""
        if self.row.decided_at is None:
            return "pending" if self.waits else "closed"
        if self.row.expired and self.row.decision != "approved":
            return "expired"
        return str(self.row.decision)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalFilter:
    """Which approvals: `status` one of STATUSES, None for all."""

    status: str | None = None
    run: str | None = None
    assignee: str | None = None


def request(session: Session, values: dict[str, Any]) -> None:
    """Ask for an approval; `values` are its columns but `requested_at`."""
    session.execute(insert(Approval).values(**values, requested_at=now(session)))
    rows = [{"approval_id": values["id"], "name": name} for name in values["assignees"]]
    if rows:
        session.execute(insert(ApprovalAssignee), rows)


def find(session: Session, workspace_id: str | None, approval_id: str) -> Found | None:
    """An approval as this statement sees it, None where the workspace has none such; None looks in all."""
    query = _found().where(Approval.id == as_id(approval_id))
    if workspace_id is not None:
        query = query.where(Approval.workspace_id == workspace_id)
    return _one(session, query)


def of_attempt(session: Session, run_id: str, no: int, attempt: int) -> Found | None:
    """The approval that an attempt has asked for."""
    of_it = (Approval.run_id == run_id, Approval.no == no, Approval.attempt == attempt)
    return _one(session, _found().where(*of_it))


def page(
    session: Session, workspace_id: str, wanted: ApprovalFilter, *, before: str | None, limit: int
) -> list[Found]:
    """Approvals, newest first, after the one of id `before`."""
    query = _found().where(Approval.workspace_id == workspace_id).order_by(Approval.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Approval.id < before)
    if wanted.status is not None:
        query = query.where(*_standing(wanted.status))
    if wanted.run is not None:
        query = query.where(Approval.run_id == as_id(wanted.run))
    if wanted.assignee is not None:
        of_name = select(ApprovalAssignee.approval_id).where(ApprovalAssignee.name == wanted.assignee)
        query = query.where(Approval.id.in_(of_name))
    return [Found(row=row, workflow=workflow, waits=bool(waits)) for row, workflow, waits in session.execute(query)]


def votes(session: Session, approval_ids: Sequence[str]) -> dict[str, list[ApprovalVote]]:
    """The votes on approvals, each one's in the order in which they came."""
    of_these = select(ApprovalVote).where(ApprovalVote.approval_id.in_(approval_ids))
    found: dict[str, list[ApprovalVote]] = {approval_id: [] for approval_id in approval_ids}
    for vote in session.scalars(of_these.order_by(ApprovalVote.place).execution_options(populate_existing=True)):
        found[vote.approval_id].append(vote)
    return found


def add_vote(session: Session, approval_id: str, values: dict[str, Any]) -> None:
    """Write a vote behind those that are there; the caller holds the run's lock."""
    count = select(func.count()).select_from(ApprovalVote).where(ApprovalVote.approval_id == approval_id)
    place = session.execute(count).scalar_one()
    session.execute(
        insert(ApprovalVote).values(approval_id=approval_id, place=place, voted_at=now(session), **values)
    )


def decide(session: Session, approval_id: str, decision: str | None, *, expired: bool) -> None:
    """Decide an approval; one that is decided stays as it is. The caller holds the run's lock."""
    session.execute(
        update(Approval)
        .where(Approval.id == approval_id, Approval.decided_at.is_(None))
        .values(decision=decision, expired=expired, decided_at=now(session))
        .execution_options(synchronize_session=False)
    )


def moment(seconds: float | None) -> datetime | None:
    """Seconds since 1970 as a column holds them."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _found() -> Select[Approval, str, bool]:
    return (
        select(Approval, Workflow.name, _WAITS.label("waits"))
        .join(Step, and_(Step.run_id == Approval.run_id, Step.no == Approval.no))
        .join(Run, Run.id == Approval.run_id)
        .join(Workflow, Workflow.id == Run.workflow_id)
        .execution_options(populate_existing=True)
    )


def _one(session: Session, query: Select[Approval, str, bool]) -> Found | None:
    row = session.execute(query).one_or_none()
    return None if row is None else Found(row=row[0], workflow=row[1], waits=bool(row[2]))


def _standing(status: str) -> tuple[ColumnElement[bool], ...]:
    """The rows that stand so; see `Found.status`."""
    undecided = Approval.decided_at.is_(None)
    match status:
        case "pending":
            return (undecided, _WAITS)
        case "closed":
            return (undecided, not_(_WAITS))
        case "approved":
            return (Approval.decision == "approved",)
        case "rejected":
            return (Approval.decision == "rejected", Approval.expired.is_(False))
        case _:
            late = Approval.decision.is_distinct_from("approved")
            return (Approval.decided_at.is_not(None), Approval.expired.is_(True), late)
