"""Failing an attempt in the place of its worker: its timeout, its silence, the loss of its worker."""

from dataclasses import replace

from sqlalchemy.orm import Session

from models.queries import runs, steps
from models.queries.runs import RunInfo
from models.queries.sweeps import DueStep
from models.states import StepStatus
from orchestrator.core import decide
from orchestrator.core.effects import Effect
from orchestrator.core.outcome import Failed, StepError
from orchestrator.core.plan import PlanNode
from orchestrator.services import claiming, stopping
from orchestrator.services.advance import Advance
from orchestrator.services.completing import Completion
from orchestrator.services.deps import Deps
from orchestrator.services.performing import Performed


def fail(
    deps: Deps, session: Session, step: DueStep, error: StepError, *, final: bool = False
) -> tuple[Effect, ...]:
    """Fail an attempt that runs or is parked; its error port applies, its retry policy unless it is `final`."""
    runs.lock(session, step.run_id)
    (now,) = steps.hot(session, step.run_id, [step.no])
    if now.status != step.status or now.attempt != step.attempt:
        return ()
    claimed = claiming.as_held(deps, session, _info(session, step.run_id), now)
    if final:
        claimed = replace(claimed, node=_without_retry(claimed.node))
    node = claimed.node
    done = Performed(
        outcome=Failed(error=error),
        digits=decide.edges_on_failure(node),
        dispatched=not stopping.unbegun(session, claimed.plan, step.run_id, [now]),
    )
    source = StepStatus(now.status)
    effects, _ = Completion(deps=deps, claimed=claimed, source=source).write(session, done)
    if not node.slow:
        return (*effects, *stopping.recall(session, claimed.plan, step.run_id, [now], spare_running=False))
    work = stopping.under_way(session, step.run_id, now)
    return (*effects, *stopping.end_work(session, step.run_id, now, work))


def advance_of(deps: Deps, session: Session, run_id: str) -> Advance:
    """A run's advance in this transaction."""
    info = _info(session, run_id)
    return Advance(deps=deps, session=session, plan=deps.plans.get(session, info.version_id), info=info)


def _info(session: Session, run_id: str) -> RunInfo:
    info = runs.info(session, run_id)
    assert info is not None, f"step of run {run_id}, which is not there"
    return info


def _without_retry(node: PlanNode) -> PlanNode:
    return replace(node, retry=replace(node.retry, policy="never"))
