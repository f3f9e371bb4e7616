"""Whose turn it is: which of the steps that became ready are sent, and which of the held ones follow.

A wave publishes what its dispatch window has room for; the rest is held, and released by rank as claims make room,
by the processes that claim, with a sweep behind them (spec "engine", Dispatch window).
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby

from sqlalchemy.orm import Session

from models.moves import Target
from models.queries import lanes as queries
from models.queries import runs
from models.queries.runs import RunInfo
from models.queries.sweeps import DueStep
from orchestrator.core import lanes
from orchestrator.core.effects import Effect, Message, Release, Wave
from orchestrator.core.lanes import Kind, Lane
from orchestrator.core.plan import Plan
from orchestrator.services import consumers, gates
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps

LANES = 500
Found = tuple[Lane, Sequence[tuple[int, DueStep]]]


def admit(
    deps: Deps, info: RunInfo, plan: Plan, ready: Sequence[Target], session: Session | None = None
) -> list[Target]:
    """Those of a run's ready steps that are to be published now; the others are held back.

    `session` is the transaction that queued them; without one, what must be asked or written is so at once.
    """
    going: list[Target] = []
    for queue in dict.fromkeys(target.queue for target in ready):
        some = sorted((t for t in ready if t.queue == queue), key=lambda t: _rank(plan, info, t.no))
        lane = Lane(workspace_id=info.workspace_id, kind=Kind.QUEUE, name=queue)
        ask = partial(_ask, deps, lane, len(some), session)
        free = deps.windows.take(str(lane), len(some), ask)
        going += some[:free]
        if some[free:]:
            _hold(deps, info, plan, lane, some[free:], session)
    return going


def _ask(deps: Deps, lane: Lane, marked: int, session: Session | None) -> int:
    if session is not None:
        return room(deps, session, lane, marked)
    with deps.db.glance() as own:
        return room(deps, own, lane, marked)


def _hold(
    deps: Deps, info: RunInfo, plan: Plan, lane: Lane, some: Sequence[Target], session: Session | None
) -> None:
    if session is None:
        with deps.db.transaction() as own:
            runs.lock(own, info.id)
            _hold(deps, info, plan, lane, some, own)
        return
    ranked = {place: list(same) for place, same in groupby(some, key=lambda t: _rank(plan, info, t.no))}
    for place, same in ranked.items():
        queries.hold(session, info.id, str(lane), place, [target.no for target in same])


def _rank(plan: Plan, info: RunInfo, no: int) -> int:
    return lanes.rank(plan.at(no).priority, info.priority)


def window(deps: Deps, session: Session, queue: str) -> int:
    """How many steps of a workspace may be sent to a queue and unclaimed."""

    def ask() -> int:
        deps.paces.hear(queries.cheap_types(session, consumers.SEEN_SECONDS))
        setting = deps.settings.dispatch_window
        slots = 0 if setting is not None else queries.consumers(session, queue, consumers.SEEN_SECONDS)
        return lanes.window(setting, slots)

    return deps.windows.size(queue, ask)


def room(deps: Deps, session: Session, lane: Lane, marked: int = 0) -> int:
    """How many steps of a queue's lane may be sent now; `marked` of them are marked as sent already."""
    most = window(deps, session, lane.name) + marked
    return most - queries.sent(session, lane.workspace_id, lane.name, most)


def after_claim(deps: Deps, workspace_id: str, queue: str, claims: int = 1) -> tuple[Effect, ...]:
    """Steps of a queue were claimed, or a message was spent on one that has to wait: what goes out in their place."""
    lane = Lane(workspace_id=workspace_id, kind=Kind.QUEUE, name=queue)
    seconds = deps.windows.claimed(str(lane), queue, claims)
    if seconds is None:
        return ()
    return (Release(lane=str(lane), seconds=seconds),) if seconds else release(deps, lane)


def after_end(deps: Deps, claimed: Claimed) -> tuple[Effect, ...]:
    """A step that held slots has ended: what goes in its place."""
    pool = gates.pool_of(claimed.info, claimed.node)
    return () if pool is None else release(deps, pool)


def sweep(deps: Deps) -> tuple[Wave, ...]:
    """Release what has room in every lane; steps that were never sent and are in no lane get into one."""
    with deps.db.read() as session:
        strays, held = queries.any_stray(session), queries.held(session, LANES)
    if strays:
        with deps.db.transaction() as session:
            queries.gather(session, f"/{Kind.QUEUE}/", LANES)
            held = queries.held(session, LANES)
    return waves([taken(deps, lanes.parse(lane)) for lane in held])


def release(deps: Deps, lane: Lane) -> tuple[Effect, ...]:
    """Send what is held in a lane and has room; of a rate, look again when its time has come."""
    with deps.db.glance() as session:
        held = queries.any_held(session, str(lane))
    if lane.kind is Kind.QUEUE:
        deps.windows.found(str(lane), held=held)
    if not held:
        return ()
    found = waves([taken(deps, lane)])
    return (*found, *gates.again(deps, lane)) if lane.kind is Kind.RATE else found


def taken(deps: Deps, lane: Lane) -> Found:
    """The held steps of a lane that go now, marked as sent; none where another process deals with the lane."""
    count = room if lane.kind is Kind.QUEUE else gates.free
    if deps.db.is_sqlite:  # where only what is due may be written
        with deps.db.read() as session:
            if count(deps, session, lane) <= 0:
                return lane, ()
    with deps.db.transaction() as session:
        if not queries.alone(session, str(lane)):
            return lane, ()
        return lane, queries.take(session, str(lane), count(deps, session, lane))


def next_of(deps: Deps, info: RunInfo, queue: str, most: int) -> list[tuple[int, int]]:
    """Number and fence of steps of a run that are held and next in its queue's lane, `most` at most; nothing is asked
    where none were held of late.
    """
    lane = str(Lane(workspace_id=info.workspace_id, kind=Kind.QUEUE, name=queue))
    if not deps.windows.busy(lane):
        return []
    with deps.db.glance() as session:
        found = queries.head(session, lane, most)
    return [(no, attempt) for run_id, no, attempt in found if run_id == info.id]


def waves(found: Iterable[Found]) -> tuple[Wave, ...]:
    """What is to be sent of steps that were taken: one wave for each stretch of one run."""
    order = lanes.in_turn(found)
    return tuple(
        Wave(messages=tuple(_message(step) for step in stretch))
        for _, stretch in groupby(order, key=lambda step: step.run_id)
    )


def _message(step: DueStep) -> Message:
    return Message(run_id=step.run_id, no=step.no, path=step.path, attempt=step.attempt, queue=step.queue)
