"""The start of a run: its entries become ready, with its creation or when its turn has come."""

from models.moves import OnReady, Target, Transition
from models.queries import runs
from models.states import OPEN, RunStatus
from orchestrator.core import decide
from orchestrator.services import deadlines, pausing
from orchestrator.services.advance import Advance


def waited(advance: Advance) -> None:
    """A run that was pending starts."""
    runs.move(advance.session, advance.info.id, RunStatus.RUNNING, "run.started")
    _tell_all(advance)


def paused(advance: Advance) -> None:
    """A run was written as running, with all steps pending; the run that called it is paused, and so is this one."""
    pausing.with_caller(advance)
    _tell_all(advance)


def at_once(advance: Advance) -> None:
    """A run was written as running, with the entries that are queued; what is left are those that are evaluated."""
    plan = advance.plan
    advance.open_steps = plan.width
    for node in plan.queued:
        advance.queued[node.no] = Target(
            no=node.no, path=node.id, attempt=0, queue=node.queue, in_chord=False, verdict="queued", live_in=None
        )
    deadlines.begin(advance, list(advance.queued))
    rest = tuple(each for each in decide.starting(plan) if each.on_ready is OnReady.INLINE)
    if rest:
        advance.start(Transition(run_id=advance.info.id, decisions=rest, while_=OPEN))


def _tell_all(advance: Advance) -> None:
    decisions = decide.starting(advance.plan)
    advance.start(Transition(run_id=advance.info.id, decisions=decisions, while_=OPEN))
