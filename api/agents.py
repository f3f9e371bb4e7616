"""`/api/agents`: who does agent steps."""

from typing import Any

from api.nouns import Call, Nouns, answer, described
from api.schemas import agents as schemas
from orchestrator.services import agent_keys, agent_views, agents
from orchestrator.services.agents import Done

bp = Nouns("agents", __name__, url_prefix="/api/agents", tag="agents")


@bp.post("/register")
@bp.view(
    "agent",
    body=schemas.RegisterBody,
    returns=schemas.Registered,
    status=201,
    also={200: described(schemas.Registered, description="The agent is known")},
)
def register_agent(call: Call) -> Any:
    """Enrol an agent; its own key is shown this once. One that is known is brought up to date."""
    done = agents.register(call.deps, call.actor, call.body, call.once)
    call.runtime.send(done.effects)
    return answer(done.answer, 201 if done.answer["is_new"] else 200)


@bp.get("")
@bp.view("read", query=schemas.AgentsQuery, returns=schemas.Agents)
def list_agents(call: Call) -> Any:
    """List agents by name."""
    wanted = {name: call.query.get(name) for name in ("status", "role", "capability", "gateway")}
    return agent_views.list_(call.deps, call.actor, call.page(), **wanted)


@bp.get("/<agent>")
@bp.view("read", "agent", returns=schemas.Agent)
def get_agent(call: Call, agent: str) -> Any:
    """Read an agent, by id or name; an agent's key reads its own."""
    return agent_views.get(call.deps, call.actor, agent)


@bp.patch("/<agent>")
@bp.view("agent", body=schemas.AgentPatch, returns=schemas.Agent)
def update_agent(call: Call, agent: str) -> Any:
    """Change what is given of an agent."""
    return _sent(call, agents.update(call.deps, call.actor, agent, call.body, call.once))


@bp.delete("/<agent>")
@bp.view("admin", returns=schemas.Agent)
def remove_agent(call: Call, agent: str) -> Any:
    """Remove an agent: its keys end, what waits for it is routed anew."""
    done = agents.remove(call.deps, call.actor, agent, call.once)
    call.runtime.keys.forget()
    return _sent(call, done)


@bp.post("/<agent>/heartbeat")
@bp.view("agent", body=schemas.HeartbeatBody, returns=schemas.Agent)
def send_heartbeat(call: Call, agent: str) -> Any:
    """Say that an agent is there, and how it is; six a minute at most."""
    return _sent(call, agents.heartbeat(call.deps, call.actor, agent, call.body, call.once))


@bp.post("/<agent>/rotate-key")
@bp.view("agent", body=schemas.RotateBody, returns=schemas.Rotated)
def rotate_key(call: Call, agent: str) -> Any:
    """Make an agent's new key, shown this once; the others work through the grace."""
    grace = call.body["grace_seconds"]
    rotated = agent_keys.rotate(call.deps, call.actor, agent, grace, call.once)
    if grace == 0:
        call.runtime.keys.forget()
    return rotated


def _sent(call: Call, done: Done) -> dict[str, Any]:
    call.runtime.send(done.effects)
    return done.answer
