"""`/api/agents/{agent}/work`: agents without a gateway pull."""

import time
from typing import Any

from flask import Response

from api.nouns import Call, Nouns
from api.schemas import agents as schemas
from orchestrator.services import work
from orchestrator.services.agents import Done

bp = Nouns("work", __name__, url_prefix="/api/agents", tag="agents")
SOONEST, LATEST = 0.25, 1.0


@bp.post("/<agent>/work")
@bp.view(
    "agent",
    query=schemas.WorkQuery,
    returns=schemas.Work,
    also={204: {"description": "There is no work"}},
)
def take_work(call: Call, agent: str) -> Any:
    """Take the next work under a lease, or wait for some."""
    seconds = call.query.get("wait", 0)
    if seconds == 0:
        return _taken(call, agent, 0)
    place = call.runtime.places.take()
    try:
        return _taken(call, agent, seconds)
    finally:
        place.leave()


def _taken(call: Call, agent: str, seconds: int) -> Any:
    puller = work.arrive(call.deps, call.actor, agent, call.once)
    call.runtime.send(puller.effects)
    if puller.repeated is not None:
        return puller.repeated
    deadline, pause = time.monotonic() + seconds, SOONEST
    while True:
        done = work.take(call.deps, call.actor, puller.agent_id, call.once)
        if done is not None:
            call.runtime.send(done.effects)
            if done.answer:
                return done.answer
        elif time.monotonic() + pause > deadline:
            return Response(status=204)
        else:  # asked again and again: no session is held meanwhile
            time.sleep(pause)
            pause = min(LATEST, 1.5 * pause)


@bp.post("/<agent>/work/<lease>/renew")
@bp.view("agent", returns=schemas.Lease)
def renew_work(call: Call, agent: str, lease: str) -> Any:
    """Keep work for another lease."""
    return _sent(call, work.renew(call.deps, call.actor, agent, lease, call.once))


@bp.post("/<agent>/work/<lease>/complete")
@bp.view("agent", body=schemas.CompleteBody, returns=schemas.EndedWork)
def complete_work(call: Call, agent: str, lease: str) -> Any:
    """End work with what came of it."""
    return _sent(call, work.end(call.deps, call.actor, agent, lease, call.body, call.once))


@bp.post("/<agent>/work/<lease>/fail")
@bp.view("agent", body=schemas.FailBody, returns=schemas.EndedWork)
def fail_work(call: Call, agent: str, lease: str) -> Any:
    """Give work up; the step's retry policy decides what follows."""
    return _sent(call, work.end(call.deps, call.actor, agent, lease, call.body, call.once))


def _sent(call: Call, done: Done) -> dict[str, Any]:
    call.runtime.send(done.effects)
    return done.answer
