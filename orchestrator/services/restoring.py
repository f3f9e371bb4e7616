"""A run goes back to one of its checkpoints, by an operator's word.

Steps that were decided since are reset, those that were done anew get the outcome that counted then, variables and
loops stand as they stood. Nothing is undone outside, and what was undone is done anew.
Source: spec "engine", Checkpoints and Control.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.event import Event
from models.queries import arrivals, compensations
from models.states import RUN_TERMINAL, STEP_TERMINAL, StepStatus
from orchestrator.core.aims import Aims, aim
from orchestrator.core.effects import Effect
from orchestrator.core.plan import Plan
from orchestrator.core.rebuild import State, StepAt, rebuild
from orchestrator.core.undone import undone
from orchestrator.services import audited, checkpoints, reopening
from orchestrator.services.actors import Actor
from orchestrator.services.advance import Advance
from orchestrator.services.arriving import Arrival
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.rewinding import Act


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A checkpoint of a run, by name or number of an event, and why. limit_cents: the run's new budget, where it is
    reopened."""

    run_id: str
    checkpoint: str
    reason: str = ""
    limit_cents: int | None = None


def restore(deps: Deps, actor: Actor, wanted: Wanted, once: Once | None = None) -> list[Effect]:
    """Bring a run back to a checkpoint; one that has ended goes on.

    Raises NotFoundError (run, checkpoint), InvalidError (no such event), ConflictError (the run can't go on, or
    an external commitment is under way that would have to be given up).
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return []
        state, advance = reopening.lock(deps, session, actor, wanted.run_id)
        run_id = advance.info.id
        reopening.check_may_act(state, run_id)
        log = arrivals.log(session, run_id)
        place = checkpoints.position(log, run_id, wanted.checkpoint, "/checkpoint")
        checkpoints.before(session, advance.info, "restore", state.seq, actor.name)
        act = Act(name="restore", reason=wanted.reason, actor=actor.name)
        told = act.told | {"checkpoint": place.name, "seq": place.seq}
        if state.status in RUN_TERMINAL:
            reopening.reopen(advance, state, told, actor.name, wanted.limit_cents)
        _arrive(advance, log, place.seq, told, actor.name)
        effects = advance.waves()
        to = {"checkpoint": place.name, "seq": place.seq}
        audited.run(session, actor, "restore", run_id, state.status, wanted.reason, to)
        guard.finish(session, {"id": run_id})
        return effects


def _arrive(advance: Advance, log: Sequence[Event], seq: int, told: dict[str, object], actor: str) -> None:
    now, then = rebuild(advance.plan, log), rebuild(advance.plan, log[:seq])
    again = undone(advance.plan, log, then)
    aims = aim(advance.plan, then, again=again, left=_going_on(advance.plan, now, then))
    compensations.forget(advance.session, advance.info.id)
    Arrival(
        advance=advance,
        aims=aims,
        origin=advance.info.id,
        seq=seq,
        variables=then.variables,
        told=told,
        actor=actor,
        same=_same(aims, now, log[seq:]),
    ).arrive()


def _going_on(plan: Plan, now: State, then: State) -> set[int]:
    """The steps that were under way then, and have been without a break since.

    A container has to stand where it stood: each of its attempts takes its branches up from how the last one left
    them, and not as they stood before.
    """
    broken = (*STEP_TERMINAL, StepStatus.PENDING)
    since = {change.path for change in now.replayed.changes if change.seq > then.seq and change.after.status in broken}
    return {
        no
        for no, step in then.steps.items()
        if step.status not in broken
        and step.path not in since
        and now.steps[no].status not in broken
        and (plan.at(no).body is None or _stands(now.steps[no], step))
    }


def _stands(now: StepAt, then: StepAt) -> bool:
    return (now.status, now.told.attempt) == (then.status, then.told.attempt)


def _same(aims: Aims, now: State, since: Sequence[Event]) -> frozenset[int]:
    """The containers that stand as they are to stand, and of which nothing has been told since."""
    told = {event.step for event in since if event.type.startswith(("container.", "branch."))}
    stands = {(b.number, b.status, str(b.error)) for b in now.branches.values() if b.status != "stale"}
    moved = {b.container for b in aims.branches.values() if (b.number, b.status, str(b.error)) not in stands}
    return frozenset(
        no
        for no, row in aims.containers.items()
        if now.containers.get(no) == row and no not in moved and row.path not in told
    )
