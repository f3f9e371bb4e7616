"""Changing the timeout or the retry policy of one step of a run, for its next attempts and a retry that waits."""

import random
from typing import Any

from models.errors import ConflictError, ErrorCode
from models.moves import Move
from models.queries import overrides, resets, runs
from models.states import StepStatus
from orchestrator.core import conditions, decide, retry
from orchestrator.core.effects import Effect, Timer
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import PlanNode
from orchestrator.services import audited, reaching
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.overrides import effective
from orchestrator.services.reaching import Reached, Wanted

_OVER = (StepStatus.SUCCESS, StepStatus.SKIPPED, StepStatus.COMPENSATING, StepStatus.COMPENSATED)


def override(
    deps: Deps, actor: Actor, wanted: Wanted, given: dict[str, Any], once: Once | None = None
) -> list[Effect]:
    """Lay `given`, {timeout?: seconds, retry?}, over what holds for a step; the attempt that runs is left as it is.

    Raises NotFoundError, ConflictError (no attempt of the step is to come).
    """
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return []
        reached = reaching.reach(deps, session, actor, wanted)
        if reached.status in _OVER:
            raise ConflictError(
                f"step {wanted.path} is {reached.status}, and no attempt of it is to come; "
                "pause the run, rerun the step, override it, and resume the run"
            )
        _apply(reached, actor, given)
        effects = reached.advance.waves()
        audited.step(reached, actor, "override", given)
        guard.finish(session, {"id": wanted.run_id})
        return effects


def _apply(reached: Reached, actor: Actor, given: dict[str, Any]) -> None:
    advance, row = reached.advance, reached.row
    session, run_id = advance.session, advance.info.id
    before = row.override or {}
    after = before | given
    if "retry" in given:
        after["retry"] = before.get("retry", {}) | given["retry"]
    overrides.put(session, run_id, row.no, after)
    told = given | {"reason": reached.wanted.reason}
    runs.note(session, run_id, "override.applied", told, actor=actor.name, step=row.path)
    if reached.status is StepStatus.RETRYING and "retry" in given:
        _wait_anew(reached, effective(advance.info, reached.node, after))


def _wait_anew(reached: Reached, node: PlanNode) -> None:
    """A retry that waits comes when the new policy says, from now on; where that has none, the step fails."""
    advance, row = reached.advance, reached.row
    found = resets.attempt_error(advance.session, advance.info.id, row.no, row.attempt)
    error = StepError(
        code=ErrorCode(found["code"]),
        message=found["message"],
        transient=found["transient"],
        details=found["details"],
    )
    wait = retry.delay(
        node.retry,
        error,
        row.tries,
        random.random(),  # noqa: S311 - spreads retries, guards nothing
        lambda condition, names: bool(conditions.evaluate(condition, names)),
    )
    if wait is None:
        _fail(reached, node, error)
        return
    overrides.set_due(advance.session, advance.info.id, row.no, advance.deps.clock.now() + wait)
    seconds = advance.deps.clock.real(wait)
    if seconds <= 2 * advance.deps.settings.sweep_seconds:
        timer = Timer(run_id=advance.info.id, no=row.no, attempt=row.attempt, seconds=max(0.0, seconds))
        advance.effects.append(timer)


def _fail(reached: Reached, node: PlanNode, error: StepError) -> None:
    row, digits = reached.row, decide.edges_on_failure(node)
    move = Move(
        no=row.no,
        fence=row.attempt,
        sources=(StepStatus.RETRYING,),
        to=StepStatus.FAILED,
        event="step.failed",
        more={"error": error.to_json(), "edges": digits},
        out_edges=digits,
    )
    told = decide.decisions(reached.advance.plan, node, digits, off_chord=True)
    reached.advance.fail(node, move, told, error)
