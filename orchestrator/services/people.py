"""What people and signals have said to parked steps, or that their time is over: the port `People`."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from models.database import Database
from models.errors import ErrorCode
from models.queries import approvals, runs, signals
from models.queries.approvals import Found
from models.queries.signals import Answer
from orchestrator.core import people
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage
from orchestrator.core.people import OnExpiry, Verdict, Vote
from orchestrator.ports import Clock, Parked

FREE = Usage(cost_microcents=0)
_BY_TIME = {OnExpiry.REJECT: Verdict.REJECTED, OnExpiry.APPROVE: Verdict.APPROVED, OnExpiry.FAIL: None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where the answers lie. Whoever asks after the time is over ends the wait, under the run's lock."""

    db: Database
    clock: Clock

    def decision(self, parked: Parked) -> Succeeded | Failed | None:
        attempt = (parked.run_id, parked.no, parked.attempt)
        with self.db.read() as session:
            found = approvals.of_attempt(session, *attempt)
            if found is not None and found.row.decided_at is not None:
                return outcome_of(found, votes_on(session, found.row.id))
        if found is None or not is_over(found, self.clock.now()):
            return None
        with self.db.transaction() as session:
            runs.lock(session, parked.run_id)
            found = approvals.of_attempt(session, *attempt)
            if found is not None and found.is_open:
                _expire(session, found)
                found = approvals.of_attempt(session, *attempt)
            if found is None or found.row.decided_at is None:
                return None
            return outcome_of(found, votes_on(session, found.row.id))

    def signal(self, parked: Parked) -> Succeeded | Failed | None:
        attempt = (parked.run_id, parked.no, parked.attempt)
        with self.db.read() as session:
            found = signals.answer(session, *attempt)
        if found is None or found.is_there or found.expired:
            return None if found is None else _taken(found)
        if found.expires_at is None or found.expires_at.timestamp() > self.clock.now():
            return None
        with self.db.transaction() as session:
            runs.lock(session, parked.run_id)
            found = signals.answer(session, *attempt)
            if found is None:
                return None
            if not found.is_there:
                signals.expire(session, *attempt)
        return _taken(found)


def votes_on(session: Session, approval_id: str) -> list[Vote]:
    """The votes on an approval, in the order in which they came."""
    return [
        Vote(name=row.name, decision=Verdict(row.decision), comment=row.comment, data=row.data)
        for row in approvals.votes(session, [approval_id])[approval_id]
    ]


def is_over(found: Found, now: float) -> bool:
    """Whether an approval's time is over; `now` is of the virtual clock."""
    expires_at = found.row.expires_at
    return expires_at is not None and expires_at.timestamp() <= now


def outcome_of(found: Found, votes: Sequence[Vote]) -> Succeeded | Failed:
    """What a decided approval means for its step."""
    row = found.row
    output = people.decided(votes, None if row.decision is None else Verdict(row.decision))
    if row.decision == Verdict.APPROVED:
        return Succeeded(output=output, usage=FREE)
    details = output | {"approval": row.id}
    if row.expired:
        return _failed(ErrorCode.EXPIRED, f"nobody decided {row.title!r} in time", details)
    against = next(vote for vote in votes if vote.decision == Verdict.REJECTED)
    said = f": {against.comment}" if against.comment else ""
    message = f"{row.title!r} was rejected by {against.name}{said}"
    return _failed(ErrorCode.REJECTED, message, details | {"comment": against.comment})


def _expire(session: Session, found: Found) -> None:
    row, by_time = found.row, _BY_TIME[OnExpiry(found.row.on_expiry)]
    approvals.decide(session, row.id, by_time, expired=True)
    by = [vote.name for vote in votes_on(session, row.id)]
    told = {"approval": row.id, "decision": by_time, "comment": None, "by": by, "expired": True}
    runs.note(session, row.run_id, "approval.decided", told, step=row.step)


def _taken(found: Answer) -> Succeeded | Failed:
    if found.is_there:
        return Succeeded(output=found.data, usage=FREE)
    return _failed(ErrorCode.EXPIRED, f"the signal {found.name!r} did not come in time", None)


def _failed(code: ErrorCode, message: str, details: object) -> Failed:
    return Failed(error=StepError.of(code, message, details=details), usage=FREE)
