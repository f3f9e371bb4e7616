"""Steps that wait for an agent: parked in the lane of their demand, and let go on when one has room for them.

By rank, then in the order they came, each kept a place at its agent until it takes it; so no more go on than find
one. A message that is lost is made good by the sweep `due`, an end that nobody saw by the sweep `unserved`.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from models.queries import gateways as doors
from models.queries import routing as rows
from models.queries import unserved as queries
from models.queries.unserved import Unserved
from orchestrator.core import lanes
from orchestrator.core.effects import Effect, Message, Resume
from orchestrator.core.lanes import Kind
from orchestrator.core.routing import (
    GONE,
    UNHEALTHY,
    Candidate,
    Chosen,
    Offered,
    Wanted,
    busier,
    choose,
    demanded,
)
from orchestrator.services import gateways, routing
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps

BATCH = 200
LANES = 500
DUE_SECONDS = 5.0
_FETCHED = 20
TYPES = frozenset({"agent"})


def after_end(deps: Deps, claimed: Claimed) -> tuple[Effect, ...]:
    """A step that worked with an agent has ended: who goes in its place."""
    return release(deps, claimed.info.workspace_id) if claimed.node.type in TYPES else ()


def release(deps: Deps, workspace_id: str) -> tuple[Effect, ...]:
    """Steps that wait for an agent and can be served now go on; one probe of an index where none waits.

    Lanes are gone through page by page, each in a transaction of its own: within one the first of all goes first.
    """
    with deps.db.glance() as session:
        if not queries.any_waits(session, _prefix(workspace_id)):
            return ()
    going: list[Effect] = []
    after: str | None = ""
    while after is not None:
        effects, after = _page(deps, workspace_id, after)
        going += effects
    return tuple(going)


def _page(deps: Deps, workspace_id: str, after: str) -> tuple[tuple[Effect, ...], str | None]:
    """Who goes on of the lanes that follow one, and the last of those; None where no more follow."""
    with deps.db.read() as session:
        view = _view(session, workspace_id, after)
    last = view.lanes[-1] if len(view.lanes) == LANES else None
    if not any(view.serves(lane) for lane in view.lanes):
        return (), last
    with deps.db.transaction() as session:
        routing.lock(session, workspace_id)
        return _let_go(deps, session, _view(session, workspace_id, after)), last


def sweep(deps: Deps) -> tuple[Effect, ...]:
    """Release in every workspace where steps wait."""
    with deps.db.glance() as session:
        if not queries.any_waits(session):
            return ()
        found = queries.workspaces(session)
    return tuple(effect for workspace_id in found for effect in _swept(deps, workspace_id))


def _swept(deps: Deps, workspace_id: str) -> tuple[Effect, ...]:
    with deps.db.read() as session:
        known = doors.default(session, workspace_id)
    if known is None:  # it may be there by now: the local one is found as soon as it runs
        with deps.db.transaction() as session:
            gateways.default(deps, session, workspace_id)
    return release(deps, workspace_id)


def _prefix(workspace_id: str) -> str:
    return f"{workspace_id}/{Kind.AGENT}/"


@dataclass(slots=True, kw_only=True)
class _View:
    """A workspace's agents with their load, and the lanes in which steps wait for them."""

    lanes: Sequence[str]
    by_name: Mapping[str, str]
    agents: dict[str, Candidate] = field(default_factory=dict)
    unregistered: bool = False

    def choose(self, lane: str) -> Chosen | Offered | bool:
        """Who serves the next step of a lane; True: somebody that is not known here, False: nobody.

        A demand that was too long to be kept is known to the step alone, which goes and sees.
        """
        asked = demanded(lanes.parse(lane).name)
        if asked is None:
            return True
        wanted, offered = asked
        if wanted.kept and self._gone(wanted.agent):
            return True  # the step itself knows whom it wants instead
        if wanted.agent is not None and wanted.agent not in self.by_name:
            return self.unregistered
        found = choose(wanted, self._candidates(wanted))
        if isinstance(found, Chosen):
            return found
        return found if isinstance(found, Offered) and not offered else False

    def serves(self, lane: str) -> bool:
        return self.choose(lane) is not False

    def blind(self, lane: str) -> bool:
        """Whether only a step of the lane itself can tell what it wants: one at a time."""
        return demanded(lanes.parse(lane).name) is None

    def keep(self, agent: Candidate) -> None:
        """One more step is at an agent."""
        (self.agents[agent.id],) = busier([agent], agent)

    def _gone(self, name: str | None) -> bool:
        agent_id = self.by_name.get(name or "")
        return agent_id is None or self.agents[agent_id].status in GONE

    def _candidates(self, wanted: Wanted) -> Iterator[Candidate]:
        if wanted.agent is not None:
            yield self.agents[self.by_name[wanted.agent]]
        else:
            yield from self.agents.values()


def _view(session: Session, workspace_id: str, after: str) -> _View:
    found = routing.loaded(session, rows.agents(session, workspace_id))
    default = doors.default(session, workspace_id)
    return _View(
        lanes=queries.lanes(session, LANES, _prefix(workspace_id), after),
        by_name={agent.name.lower(): agent.id for agent in found},
        agents={agent.id: agent for agent in found},
        unregistered=default is not None and default.status != UNHEALTHY,
    )


def _let_go(deps: Deps, session: Session, view: _View) -> tuple[Effect, ...]:
    """The first of all lanes goes first, as far as its lane is served."""
    due = deps.clock.now() + DUE_SECONDS / deps.clock.real(1.0)
    queues = {lane: _waiting(session, lane) for lane in view.lanes if view.serves(lane)}
    heads: list[tuple[Any, str, Unserved]] = []
    for lane, queue in queues.items():
        _push(heads, lane, queue)
    going: list[Effect] = []
    while heads and len(going) < BATCH:
        _, lane, step = heapq.heappop(heads)
        found = view.choose(lane)
        if found is False:
            continue
        agent = found.agent if isinstance(found, Chosen) else None
        if _goes(session, lane, step, agent, due):
            if agent is not None:
                view.keep(agent)
            going.append(Resume(message=_message(step)))
        if not view.blind(lane):
            _push(heads, lane, queues[lane])
    return tuple(going)


def _goes(session: Session, lane: str, step: Unserved, agent: Candidate | None, due: float) -> bool:
    if not queries.withdraw(session, step):
        return False  # an agent has claimed it meanwhile
    return queries.let_go(session, step, lane, None if agent is None else agent.id, due)


def _waiting(session: Session, lane: str) -> Iterator[Unserved]:
    """The steps of a lane in their order, read as they are asked for, a lane's batch at most."""
    found = queries.heads(session, lane, _FETCHED)
    yield from found
    if len(found) == _FETCHED:
        yield from queries.heads(session, lane, BATCH - _FETCHED)


def _push(heads: list[tuple[Any, str, Unserved]], lane: str, queue: Iterator[Unserved]) -> None:
    step = next(queue, None)
    if step is not None:
        heapq.heappush(heads, (step.place, lane, step))


def _message(step: Unserved) -> Message:
    return Message(run_id=step.run_id, no=step.no, path=step.path, attempt=step.attempt, queue=step.queue)
