"""Agents' own keys: a new one in the place of the old, which works through a grace."""

from datetime import timedelta
from typing import Any

from models.queries import keys, sweeps
from orchestrator.services import agents, auditing
from orchestrator.services import keys as tokens
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.shapes import moment


def rotate(deps: Deps, actor: Actor, agent: str, grace_seconds: int, once: Once) -> dict[str, Any]:
    """A new key for an agent: {agent_id, api_key, grace_until}; its other keys end with the grace.

    Raises NotFoundError, ForbiddenError.
    """
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            row = agents.own(session, actor, agent)
            until = sweeps.moment(session) + timedelta(seconds=grace_seconds)
            keys.expire(session, row.id, until)
            nonce = tokens.issue(
                session, deps.settings, workspace_id=row.workspace_id, agent_id=row.id, name=row.name
            )
            kept = {"agent_id": row.id, "grace_until": moment(until), "nonce": nonce, "key_id": actor.key_id}
            auditing.record(
                session, actor, "agent.rotate_key", f"agent:{row.id}", after={"grace_until": kept["grace_until"]}
            )
            once.finish(session, kept)
    return {
        "agent_id": kept["agent_id"],
        "api_key": agents.shown_key(deps, actor, kept),
        "grace_until": kept["grace_until"],
    }
