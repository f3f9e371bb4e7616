"""Which agent a step goes to. Pure: candidates and what they have to do are given.

Least loaded first; a session that is kept stays with the agent that has it (spec "mission" A2, "gateway" §4).
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.core.lanes import NAME_LIMIT

GONE = frozenset({"failed", "stopped"})
UNAVAILABLE = GONE | {"offline"}
UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The agent that a step asks for: by name, or any of a role with all the capabilities.

    kept: the agent named is the one that keeps the step's session; another will do once it is gone.
    """

    agent: str | None = None
    role: str | None = None
    capabilities: tuple[str, ...] = ()
    kept: bool = False

    def __str__(self) -> str:
        if self.agent is not None:
            return f"agent {self.agent}"
        role = "" if self.role is None else f" of the role {self.role}"
        able = f" with the capabilities {', '.join(self.capabilities)}" if self.capabilities else ""
        return f"agent{role}{able}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A registered agent and what it has to do.

    live: our steps at it; queued: what it says waits at it; begun: our steps begun in the last minute.
    gateway_id None: it claims its work itself. session_key as registered.
    """

    id: str
    name: str
    role: str | None = None
    capabilities: tuple[str, ...] = ()
    status: str = "online"
    gateway_id: str | None = None
    gateway_name: str | None = None
    gateway_status: str | None = None
    session_key: str | None = None
    live: int = 0
    queued: int = 0
    begun: int = 0
    max_concurrent: int | None = None
    rate_limit: int | None = None

    @property
    def limited(self) -> bool:
        """Whether it takes so many steps only."""
        return self.max_concurrent is not None or self.rate_limit is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The step goes to this agent, at its gateway."""

    agent: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """No gateway's agent is available, but some that claim their work match: this one, or any (None)."""

    agent_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nobody is available. `wanted`: what to wait for, narrower than what was asked where a session is kept."""

    reason: str
    wanted: Wanted


def choose(
    wanted: Wanted, candidates: Iterable[Candidate], sticky: str | None = None
) -> Chosen | Offered | Refused:
    """The agent for a step. `sticky`: the id of the one that keeps the step's session.

    That one is waited for while it is busy or away, and replaced only where it is gone or matches no more.
    """
    fitting = [candidate for candidate in candidates if fits(wanted, candidate)]
    kept = [c for c in fitting if c.id == sticky and c.status not in GONE]
    among = kept or fitting
    free = [c for c in among if c.gateway_id is not None and hindrance(c) is None]
    if free:
        return Chosen(agent=min(free, key=lambda c: (c.live + c.queued, c.name, c.id)))
    pulling = [c for c in among if c.gateway_id is None and c.status not in UNAVAILABLE]
    if pulling:
        one = kept or wanted.agent is not None
        return Offered(agent_id=pulling[0].id if one else None)
    narrowed = Wanted(agent=kept[0].name.lower(), kept=wanted.agent is None) if kept else wanted
    return Refused(reason=_reason(narrowed, among), wanted=narrowed)


def fits(wanted: Wanted, candidate: Candidate) -> bool:
    """Whether an agent is one that the step asks for."""
    if wanted.agent is not None:
        return candidate.name.lower() == wanted.agent.lower()
    role = wanted.role is None or candidate.role == wanted.role
    return role and set(wanted.capabilities) <= set(candidate.capabilities)


def hindrance(candidate: Candidate) -> str | None:
    """Why an agent takes no step now; None when it takes one."""
    if candidate.status in UNAVAILABLE:
        return f"is {candidate.status}"
    if candidate.gateway_id is not None and candidate.gateway_status == UNHEALTHY:
        return f"is behind the gateway {candidate.gateway_name}, which is unhealthy"
    if candidate.max_concurrent is not None and candidate.live >= candidate.max_concurrent:
        return f"works on {candidate.live} of {candidate.max_concurrent} steps at once"
    if candidate.rate_limit is not None and candidate.begun >= candidate.rate_limit:
        return f"has begun {candidate.begun} of {candidate.rate_limit} steps in the last minute"
    return None


def busier(candidates: Iterable[Candidate], taken: Candidate) -> list[Candidate]:
    """The agents after one more step was given to one of them."""
    return [replace(c, live=c.live + 1, begun=c.begun + 1) if c.id == taken.id else c for c in candidates]

def _reason(wanted: Wanted, among: Sequence[Candidate]) -> str:
    if not among:
        return f"no {wanted} is registered"
    reasons = [f"{c.name} {hindrance(c)}" for c in among[:3]]
    more = f", and {len(among) - 3} more" if len(among) > 3 else ""
    return f"no {wanted} is available: {', '.join(reasons)}{more}"


def demand(wanted: Wanted, *, offered: bool = False) -> str:
    """What a step waits for, as the name of its lane: the same text for the same demand.

    offered: its work can be claimed already, so that only an agent at a gateway is still of use to it.
    """
    said = {
        "agent": wanted.agent,
        "role": wanted.role,
        "capabilities": sorted(wanted.capabilities) or None,
        "kept": wanted.kept or None,
        "offered": offered or None,
    }
    kept = {name: value for name, value in said.items() if value is not None}
    return json.dumps(kept, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def demanded(name: str) -> tuple[Wanted, bool] | None:
    """The inverse of `demand`; None for one that was too long to be kept in a lane."""
    if len(name) >= NAME_LIMIT:
        return None
    said = json.loads(name)
    capabilities: Collection[str] = said.get("capabilities", ())
    wanted = Wanted(
        agent=said.get("agent"),
        role=said.get("role"),
        capabilities=tuple(capabilities),
        kept=bool(said.get("kept")),
    )
    return wanted, bool(said.get("offered"))
