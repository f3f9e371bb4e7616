"""Which agent a step goes to: any agents, any load, steps that come one after another."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import routing
from orchestrator.core.lanes import Kind, Lane, parse
from orchestrator.core.routing import Candidate, Chosen, Offered, Refused, Wanted, choose, demand, demanded

_STATUS = st.sampled_from(["online", "idle", "busy", "failed", "stopped", "offline"])
_ABLE = st.sets(st.sampled_from(["law", "tax", "french"])).map(lambda found: tuple(sorted(found)))
_LIMIT = st.none() | st.integers(0, 3)


@st.composite
def _candidates(draw: st.DrawFn) -> list[Candidate]:
    return [
        Candidate(
            id=str(number),
            name=f"agent-{number}",
            role=draw(st.sampled_from(["judge", "clerk", None])),
            capabilities=draw(_ABLE),
            status=draw(_STATUS),
            gateway_id=draw(st.sampled_from(["g", None])),
            gateway_name="g",
            gateway_status=draw(st.sampled_from(["healthy", "unknown", "unhealthy"])),
            live=draw(st.integers(0, 3)),
            queued=draw(st.integers(0, 3)),
            begun=draw(st.integers(0, 3)),
            max_concurrent=draw(_LIMIT),
            rate_limit=draw(_LIMIT),
        )
        for number in range(draw(st.integers(0, 6)))
    ]


_WANTED = st.one_of(
    st.builds(Wanted, agent=st.sampled_from(["agent-0", "agent-1", "agent-9"])),
    st.builds(Wanted, role=st.sampled_from(["judge", "clerk", None]), capabilities=_ABLE),
)
_STICKY = st.none() | st.sampled_from(["0", "1", "2", "9"])


def _free(candidate: Candidate) -> bool:
    """The rule in other words."""
    return (
        candidate.status in ("online", "idle", "busy")
        and candidate.gateway_id is not None
        and candidate.gateway_status != "unhealthy"
        and (candidate.max_concurrent is None or candidate.live < candidate.max_concurrent)
        and (candidate.rate_limit is None or candidate.begun < candidate.rate_limit)
    )


def _fits(wanted: Wanted, candidate: Candidate) -> bool:
    if wanted.agent is not None:
        return candidate.name == wanted.agent
    return wanted.role in (None, candidate.role) and all(
        name in candidate.capabilities for name in wanted.capabilities
    )


@given(_WANTED, _candidates(), _STICKY)
def test_one_that_is_chosen_is_asked_for_available_and_least_loaded(
    wanted: Wanted, candidates: list[Candidate], sticky: str | None
) -> None:
    found = choose(wanted, candidates, sticky)
    free = [c for c in candidates if _fits(wanted, c) and _free(c)]
    if not isinstance(found, Chosen):
        kept = [c for c in candidates if c.id == sticky and _fits(wanted, c)]
        assert not free or kept, "somebody is free, and no session is kept by another"
        return
    assert found.agent in free
    if found.agent.id != sticky:
        assert found.agent.live + found.agent.queued == min(c.live + c.queued for c in free)


@given(_WANTED, _candidates(), _STICKY)
def test_a_session_stays_with_its_agent_unless_that_is_gone(
    wanted: Wanted, candidates: list[Candidate], sticky: str | None
) -> None:
    kept = [
        c for c in candidates if c.id == sticky and _fits(wanted, c) and c.status not in ("failed", "stopped")
    ]
    found = choose(wanted, candidates, sticky)
    if not kept:
        assert found == choose(wanted, candidates, None)
    elif isinstance(found, Chosen):
        assert found.agent is kept[0]
    elif isinstance(found, Offered):
        assert found.agent_id == sticky
    else:
        assert found.wanted.agent == kept[0].name


@given(_WANTED, _candidates())
def test_work_is_offered_only_to_those_who_can_claim_it(wanted: Wanted, candidates: list[Candidate]) -> None:
    found = choose(wanted, candidates)
    pulling = [
        c
        for c in candidates
        if _fits(wanted, c) and c.gateway_id is None and c.status in ("online", "idle", "busy")
    ]
    if isinstance(found, Offered):
        assert pulling
        assert found.agent_id in (None, *(c.id for c in pulling))
    elif isinstance(found, Refused):
        assert not pulling
        assert found.reason


@given(_candidates(), st.integers(1, 12))
def test_no_limit_is_exceeded_by_steps_that_come_after_each_other(
    candidates: list[Candidate], steps: int
) -> None:
    now = candidates
    for _ in range(steps):
        found = choose(Wanted(), now)
        if not isinstance(found, Chosen):
            break
        now = routing.busier(now, found.agent)
    for before, after in zip(candidates, now, strict=True):
        if after.live > before.live:
            assert after.max_concurrent is None or after.live <= after.max_concurrent
            assert after.rate_limit is None or after.begun <= after.rate_limit


@given(_WANTED, st.booleans())
def test_a_demand_is_known_again_from_its_lane(wanted: Wanted, offered: bool) -> None:
    lane = Lane(workspace_id="w", kind=Kind.AGENT, name=demand(wanted, offered=offered))
    assert demanded(parse(str(lane)).name) == (wanted, offered)


def test_a_demand_that_is_too_long_is_not_guessed() -> None:
    wanted = Wanted(role="x" * 250)
    lane = Lane(workspace_id="w", kind=Kind.AGENT, name=demand(wanted))
    assert demanded(parse(str(lane)).name) is None
    assert len(str(lane)) < 300


def test_the_same_demand_is_the_same_lane() -> None:
    assert demand(Wanted(capabilities=("b", "a"))) == demand(Wanted(capabilities=("a", "b")))
    assert demand(Wanted(agent="a")) != demand(Wanted(role="a"))


def test_a_refusal_names_who_was_looked_at() -> None:
    crowd = [Candidate(id=str(n), name=f"a{n}", role="judge", status="offline") for n in range(5)]
    found = choose(Wanted(role="judge"), crowd)
    assert isinstance(found, Refused)
    assert found.reason == (
        "no agent of the role judge is available: a0 is offline, a1 is offline, a2 is offline, and 2 more"
    )
    assert routing.hindrance(crowd[0]) == "is offline"
