"""What an operator does to one step of a run: retry, skip, complete by hand, rerun from it on.

Each is allowed where it makes sense, and reopens a run that has ended. Source: spec "engine", States and Control.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.errors import ConflictError
from models.states import StepStatus
from orchestrator.core.effects import Effect
from orchestrator.services import audited, checkpoints, reaching, rewinding, settling_by_hand, undoing
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.reaching import Reached, Wanted
from orchestrator.services.rewinding import Act

_SKIPPABLE = (
    StepStatus.FAILED,
    StepStatus.WAITING,
    StepStatus.RETRYING,
    StepStatus.QUEUED,
    StepStatus.PENDING,
)
_COMPLETABLE = (StepStatus.FAILED, StepStatus.WAITING)
_ENDED = (
    StepStatus.SUCCESS,
    StepStatus.FAILED,
    StepStatus.SKIPPED,
    StepStatus.ABORTED,
    StepStatus.COMPENSATED,
)


def retry(deps: Deps, actor: Actor, wanted: Wanted, once: Once | None = None) -> list[Effect]:
    """Try a failed step again, with fresh tries; what its failure led to is taken back.

    One that could not be undone is undone once more.

    Raises NotFoundError, ConflictError (it has not failed, or the run cannot go on).
    """
    return _do(deps, actor, wanted, once, "retry", lambda reached: _retry(reached, actor))


def _retry(reached: Reached, actor: Actor) -> None:
    act = Act(name="retry", reason=reached.wanted.reason, actor=actor.name)
    if undoing.retry(reached, act):
        return
    undoing.check_is_done(reached, "retried")
    if reached.status is not StepStatus.FAILED:
        raise _refusal(reached, "retried", (StepStatus.FAILED,))
    _start_again(reached, act)


def rerun(deps: Deps, actor: Actor, wanted: Wanted, once: Once | None = None) -> list[Effect]:
    """Do an ended step and all behind it anew, under new idempotency keys; what is before it is reused.

    Raises NotFoundError, ConflictError (it has not ended, or is in a loop or parallel).
    """
    return _do(deps, actor, wanted, once, "rerun", lambda reached: _rerun(reached, actor))


def _rerun(reached: Reached, actor: Actor) -> None:
    undoing.check_is_done(reached, "run again")
    if reached.status not in _ENDED:
        raise _refusal(reached, "run again", _ENDED)
    if reached.scope.branch:
        around = reached.row.path.rpartition("[")[0]
        raise ConflictError(
            f"step {reached.row.path} is in a loop or parallel; rerun {around}, or retry, skip or complete "
            "single steps in it"
        )
    advance = reached.advance
    checkpoints.before(advance.session, advance.info, "rerun", reached.state.seq, actor.name)
    _start_again(reached, Act(name="rerun", reason=reached.wanted.reason, actor=actor.name, fresh=True))


def _start_again(reached: Reached, act: Act) -> None:
    reached.open_again(act)
    decisions = rewinding.take_back(reached.advance, reached.scope, act, again=(reached.row.no,))
    rewinding.let_go(reached.advance, reached.scope, decisions)


def skip(deps: Deps, actor: Actor, wanted: Wanted, once: Once | None = None) -> list[Effect]:
    """Skip a step that has failed or not begun, or that waits; its edges are dead.

    Raises NotFoundError, ConflictError (it runs, or has ended otherwise).
    """
    return _do(deps, actor, wanted, once, "skip", lambda reached: _skip(reached, actor))


def _skip(reached: Reached, actor: Actor) -> None:
    undoing.check_is_done(reached, "skipped")
    if reached.status not in _SKIPPABLE:
        raise _refusal(reached, "skipped", _SKIPPABLE)
    act = Act(name="skip", reason=reached.wanted.reason, actor=actor.name)
    settling_by_hand.skip(reached, act)


def complete(
    deps: Deps, actor: Actor, wanted: Wanted, output: Any, once: Once | None = None
) -> list[Effect]:
    """Give a failed or waiting step the output that it should have had; it succeeds.

    Raises NotFoundError, ConflictError (it neither failed nor waits), InvalidError (an output that no handler
    may give).
    """
    return _do(
        deps, actor, wanted, once, "complete", lambda reached: _complete(reached, actor, output), {"output": [output]}
    )


def _complete(reached: Reached, actor: Actor, output: Any) -> None:
    undoing.check_is_done(reached, "completed by hand")
    if reached.status not in _COMPLETABLE:
        raise _refusal(reached, "completed by hand", _COMPLETABLE)
    if reached.node.body is not None:
        raise ConflictError(
            f"step {reached.row.path} is a {reached.node.type}, whose output is made of its branches; "
            "complete the steps in them, or skip it"
        )
    act = Act(name="complete", reason=reached.wanted.reason, actor=actor.name)
    settling_by_hand.complete(reached, act, output)


def _do(
    deps: Deps,
    actor: Actor,
    wanted: Wanted,
    once: Once | None,
    name: str,
    act: Callable[[Reached], None],
    told: Mapping[str, Any] | None = None,
) -> list[Effect]:
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return []
        reached = reaching.reach(deps, session, actor, wanted)
        act(reached)
        effects = reached.advance.waves()
        audited.step(reached, actor, name, told)
        guard.finish(session, {"id": wanted.run_id})
        return effects


_REMEDIES = {
    StepStatus.PENDING: "it has not begun; skip it, or wait",
    StepStatus.QUEUED: "it is about to begin; skip it, or wait",
    StepStatus.RUNNING: "wait until it has ended, or abort the run",
    StepStatus.WAITING: "skip it, complete it by hand, or wait",
    StepStatus.RETRYING: "it is tried again by itself; override its retry, skip it, or wait",
    StepStatus.SUCCESS: "rerun it to do it and all behind it anew",
    StepStatus.FAILED: "retry it, skip it, or complete it by hand",
    StepStatus.SKIPPED: "rerun it to do it and all behind it anew",
    StepStatus.ABORTED: "rerun it to do it and all behind it anew",
    StepStatus.COMPENSATING: "wait until it is undone",
    StepStatus.COMPENSATED: "rerun it to do it and all behind it anew",
}


def _refusal(reached: Reached, what: str, allowed: Sequence[StepStatus]) -> ConflictError:
    states = " or ".join(allowed)
    return ConflictError(
        f"step {reached.row.path} is {reached.status}; only one that is {states} can be {what}: "
        f"{_REMEDIES[reached.status]}"
    )
