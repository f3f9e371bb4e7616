"""Pools and rates: a step that wants a slot, or counts for a key, is claimed only when there is room.

What is taken is read from the steps that run or wait with their slots, what counts from the moments at which
attempts were claimed: nothing has to be given back. A step that is refused stays queued, held in the lane of the
pool or of the key; it goes when the end of another one, or time, has made room, with the sweep behind both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from models.base import dump_json
from models.errors import OrchestratorError
from models.queries import lanes as queries
from models.queries import pools, runs, sweeps
from models.queries.runs import RunInfo
from orchestrator.core import lanes, values
from orchestrator.core.effects import Effect, Message, Release
from orchestrator.core.lanes import Kind, Lane
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.services import claiming
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps
from orchestrator.services.performing import names_of

NEVER = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The lanes that a step has to pass; None: it has no such gate."""

    pool: Lane | None = None
    rate: Lane | None = None


def pool_of(info: RunInfo, node: PlanNode) -> Lane | None:
    """The lane of a node's pool."""
    if node.pool is None:
        return None
    return Lane(workspace_id=info.workspace_id, kind=Kind.POOL, name=node.pool)


def of(deps: Deps, info: RunInfo, plan: Plan, look: Message) -> Gates:
    """The gates of a step, its key resolved outside of any transaction.

    A key that does not resolve is no gate: the step fails when its values are resolved.
    """
    node = plan.at(look.no)
    rate = None
    if node.rate is not None:
        try:
            key = values.resolve(node.rate["key"], names_of(deps, _to_be(info, plan, look)).without_env())
            name = key if isinstance(key, str) else dump_json(key)
            rate = Lane(workspace_id=info.workspace_id, kind=Kind.RATE, name=name)
        except OrchestratorError:
            rate = None
    return Gates(pool=pool_of(info, node), rate=rate)


def _to_be(info: RunInfo, plan: Plan, look: Message) -> Claimed:
    return Claimed(
        info=info,
        plan=plan,
        node=plan.at(look.no),
        path=look.path,
        attempt=look.attempt,
        tries=0,
        losses=0,
        live_in=None,
        idempotency_key=None,
        reserved=0,
        queue=plan.at(look.no).queue,
    )


def claim(
    deps: Deps, session: Session, info: RunInfo, plan: Plan, look: Message, gates: Gates
) -> Claimed | Sequence[Effect] | None:
    """Claim a step that has gates, within the caller's transaction, which holds no run's lock yet.

    None when the race is lost; when the step is held since there is no room, what follows from that. Raises
    BudgetRefusedError.
    """
    node = plan.at(look.no)
    passed = [str(lane) for lane in (gates.pool, gates.rate) if lane is not None]
    for lane in sorted(passed):
        queries.wait(session, lane)
    lined_up = _lined_up(session, info, look)
    for gate in (gates.pool, gates.rate):
        if gate is None:
            continue
        full = _full(session, node, gate)
        if full is None and (lined_up or not queries.any_held(session, str(gate))):
            continue
        rank = lanes.rank(node.priority, info.priority)
        slots = node.slots if gate is gates.pool else None
        queries.hold(session, info.id, str(gate), rank, [look.no], slots=slots)
        return () if full == NEVER else (Release(lane=str(gate), seconds=full or 0.0),)
    claimed = claiming.claim(deps, session, info, look.no, look.attempt)
    if claimed is not None:
        pool = None if gates.pool is None else str(gates.pool)
        rate = None if gates.rate is None else str(gates.rate)
        pools.mark(session, info.id, look.no, claimed.attempt, pool=pool, slots=node.slots, rate=rate)
    return claimed


def _lined_up(session: Session, info: RunInfo, look: Message) -> bool:
    """Whether a step has waited at a gate before: then it goes before those that still do."""
    lane = pools.lane_of(session, info.id, look.no)
    return lane is not None and lanes.parse(lane).kind is not Kind.QUEUE


def _full(session: Session, node: PlanNode, gate: Lane) -> float | None:
    """Seconds until a gate takes the step, NEVER when the end of another one decides it, None when it does now."""
    if gate.kind is Kind.POOL:
        size = pools.size(session, gate.workspace_id, gate.name) or 0
        return None if pools.taken(session, str(gate)) + node.slots <= size else NEVER
    assert node.rate is not None
    nth = pools.nth_last(session, str(gate), node.rate["limit"])
    return lanes.until(nth, sweeps.clock(session), node.rate["per"])


def again(deps: Deps, lane: Lane) -> tuple[Release, ...]:
    """When to look again at a rate's lane in which steps are held."""
    with deps.db.read() as session:
        first = queries.first(session, str(lane))
        rate = None if first is None else _node(deps, session, *first).rate
        if rate is None:
            return ()
        nth = pools.nth_last(session, str(lane), rate["limit"])
        seconds = lanes.until(nth, sweeps.clock(session), rate["per"])
    return (Release(lane=str(lane), seconds=rate["per"] if seconds is None else seconds),)


def free(deps: Deps, session: Session, lane: Lane) -> int:
    """How many steps that are held at a gate may go now."""
    coming, wanted = pools.coming(session, str(lane))
    if lane.kind is Kind.POOL:
        size = pools.size(session, lane.workspace_id, lane.name) or 0
        left = size - pools.taken(session, str(lane)) - wanted
        return lanes.fitting(pools.widths(session, str(lane), left), left) if left > 0 else 0
    first = queries.first(session, str(lane))
    rate = None if first is None else _node(deps, session, *first).rate
    if rate is None:
        return 0  # nothing is held any more
    since = sweeps.clock(session) - rate["per"]
    return int(rate["limit"]) - pools.begun_since(session, str(lane), since) - coming


def _node(deps: Deps, session: Session, run_id: str, no: int) -> PlanNode:
    info = runs.info(session, run_id)
    assert info is not None, f"step of run {run_id}, which is not there"
    return deps.plans.get(session, info.version_id).at(no)
