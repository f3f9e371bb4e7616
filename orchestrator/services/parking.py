"""What a step that parks for people or for a signal leaves behind, in the transaction that parks it."""

from sqlalchemy.orm import Session

from models.queries import approvals, runs, signals, steps
from orchestrator.core import schema
from orchestrator.core.effects import Timer
from orchestrator.core.outcome import Waiting
from orchestrator.core.people import Awaited, Question
from orchestrator.services.advance import Advance
from orchestrator.services.claiming import Claimed


def begin(advance: Advance, claimed: Claimed, waiting: Waiting, due: float | None) -> None:
    """Ask the people, or take the signal that came before. `due`: when it expires, of the virtual clock."""
    if waiting.asks is not None:
        _ask(advance.session, claimed, waiting.asks, due)
    if waiting.awaits is not None:
        _await(advance, claimed, waiting.awaits, due)


def _ask(session: Session, claimed: Claimed, question: Question, due: float | None) -> None:
    asked = {
        "title": question.title,
        "assignees": list(question.assignees),
        "required": question.required,
        "expires_at": approvals.moment(due),
    }
    own = {
        "id": question.id,
        "workspace_id": claimed.info.workspace_id,
        "run_id": claimed.info.id,
        "no": claimed.no,
        "attempt": claimed.attempt,
        "step": claimed.path,
        "form": question.form,
        "on_expiry": question.on_expiry.value,
    }
    approvals.request(session, own | asked)
    told = {"approval": question.id, "attempt": claimed.attempt, **asked, "expires_at": due}
    runs.note(session, claimed.info.id, "approval.requested", told, step=claimed.path)


def _await(advance: Advance, claimed: Claimed, awaited: Awaited, due: float | None) -> None:
    session, info = advance.session, claimed.info
    if awaited.key is not None:
        signals.lock_key(session, info.workspace_id, awaited.name, awaited.key)
    own = {
        "run_id": info.id,
        "no": claimed.no,
        "attempt": claimed.attempt,
        "workspace_id": info.workspace_id,
        "name": awaited.name,
        "key": awaited.key,
        "schema": awaited.schema,
        "expires_at": approvals.moment(due),
    }
    signals.wait(session, own)
    for early in signals.kept(session, info.workspace_id, info.id, awaited.name, awaited.key):
        if awaited.schema is None or not schema.problems(awaited.schema, early.data):
            signals.take(session, early.id, info.id, claimed.no, claimed.attempt)
            _answered(advance, claimed)
            return


def _answered(advance: Advance, claimed: Claimed) -> None:
    """The answer is there: a timer of this process settles it at once, else the sweep."""
    run_id, no, attempt = claimed.info.id, claimed.no, claimed.attempt
    steps.put_off(advance.session, run_id, no, attempt, advance.deps.clock.now())
    advance.effects.append(Timer(run_id=run_id, no=no, attempt=attempt, seconds=0.0))
