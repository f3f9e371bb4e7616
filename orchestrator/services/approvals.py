"""Approvals: votes, what they come to, and what time comes to when people do not.

A vote and the decision that it makes are one transaction under the run's lock; the step is then settled by it,
at once, or by the sweep `due` where this process ends in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.orm import Session

from models.database import OUTAGES
from models.errors import ConflictError, InvalidError, NotFoundError
from models.queries import approvals, runs, steps
from models.queries.approvals import Found
from orchestrator.core import people, schema
from orchestrator.core.effects import Effect
from orchestrator.core.people import Verdict, Vote
from orchestrator.services import approval_views, auditing, waking
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.people import is_over, outcome_of, votes_on

_log = structlog.get_logger(__name__)
_VERBS = {Verdict.APPROVED: "approve", Verdict.REJECTED: "reject"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Voted:
    """The approval after a vote, and what is to be sent."""

    answer: dict[str, Any]
    effects: tuple[Effect, ...] = ()


def vote(
    deps: Deps,
    actor: Actor,
    approval_id: str,
    decision: Verdict,
    *,
    comment: str | None = None,
    data: Any = None,
    once: Once | None = None,
) -> Voted:
    """Vote on an approval of the actor's workspace.

    Raises NotFoundError, ConflictError (decided, expired, its run does not wait for it any more, or this key has
    voted), InvalidError (data that the form refuses, with pointers below /data).
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if (kept := guard.begin(session)) is not None:
            return Voted(answer=kept)
        found = locked(session, actor, approval_id)
        now = deps.clock.now()
        _check_open(session, actor, found, now)
        _check_form(found.row.form, decision, data)
        ballot = {"name": actor.name, "decision": decision.value, "comment": comment, "data": data}
        at = approvals.moment(now)
        approvals.add_vote(session, approval_id, {"voter": actor.key_id, "clock_at": at, **ballot})
        votes = votes_on(session, approval_id)
        outcome = people.verdict(votes, found.row.required)
        _record(deps, session, found, votes, outcome, actor)
        shown = approval_views.in_session(session, approval_id)
        auditing.record(
            session,
            actor,
            f"approval.{_VERBS[decision]}",
            f"approval:{approval_id}",
            before={"status": found.status},
            after={"status": shown["status"], "run_id": found.row.run_id, "step": found.row.step, "data": [data]},
            reason=comment,
        )
        guard.finish(session, shown)
    effects = () if outcome is None else _settle(deps, approval_id)
    return Voted(answer=shown, effects=effects)


def locked(session: Session, actor: Actor, approval_id: str) -> Found:
    """The approval as it stands now that nobody else moves its run. Raises NotFoundError."""
    found = approvals.find(session, actor.workspace_id, approval_id)
    if found is not None:
        runs.lock(session, found.row.run_id)
        found = approvals.find(session, actor.workspace_id, approval_id)
    if found is None:
        raise NotFoundError(f"There is no approval {approval_id!r}; GET /api/approvals lists those that are open")
    return found


def _check_open(session: Session, actor: Actor, found: Found, now: float) -> None:
    row, what = found.row, f"approval {found.row.id}"
    if any(vote.voter == actor.key_id for vote in approvals.votes(session, [row.id])[row.id]):
        raise ConflictError(f"{actor.name!r} has voted on {what} already; one vote a key")
    if row.decided_at is not None:
        raise ConflictError(f"{what} is {found.status} already")
    if not found.waits:
        raise ConflictError(f"{what} is closed: step {row.step} of run {row.run_id} does not wait for it any more")
    if is_over(found, now):
        raise ConflictError(f"{what} has expired")


def _check_form(form: Any, decision: Verdict, data: Any) -> None:
    """A vote for it needs what the form asks for; one against it may come without."""
    if form is None or (data is None and decision is Verdict.REJECTED):
        return
    problems = schema.problems(form, {} if data is None else data, "/data")
    if problems:
        raise InvalidError("the data is refused by the approval's form; nothing was decided", problems)


def _record(
    deps: Deps, session: Session, found: Found, votes: Sequence[Vote], outcome: Verdict | None, actor: Actor
) -> None:
    """Tell of a vote; where it decides, decide, and leave it to the sweep in case nobody settles the step."""
    row, mine = found.row, votes[-1]
    told = {"approval": row.id, "decision": mine.decision.value, "comment": mine.comment}
    if outcome is None:
        runs.note(session, row.run_id, "approval.voted", told, actor=actor.name, step=row.step)
        return
    approvals.decide(session, row.id, outcome.value, expired=False)
    decided = {**told, "by": [vote.name for vote in votes], "expired": False}
    runs.note(session, row.run_id, "approval.decided", decided, actor=actor.name, step=row.step)
    steps.put_off(session, row.run_id, row.no, row.attempt, deps.clock.now())


def _settle(deps: Deps, approval_id: str) -> tuple[Effect, ...]:
    try:
        with deps.db.read() as session:
            found = approvals.find(session, None, approval_id)
            assert found is not None
            outcome = outcome_of(found, votes_on(session, approval_id))
        return waking.settle(deps, found.row.run_id, found.row.no, found.row.attempt, outcome)
    except OUTAGES as error:
        _log.warning("approval settled by the sweep", approval=approval_id, reason=type(error).__name__)
        return ()
