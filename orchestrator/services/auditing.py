"""The audit log: acts of people and keys, written with the act itself, and sealed into a chain by one sweep.

Source: spec "engine", Audit. Nothing that the engine does by itself is an act.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from models.audit import Audit
from models.queries import audit
from models.queries.audit import Act
from orchestrator.core.audit import GENESIS, changes, digest, link
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.shapes import moment
from orchestrator.services.swept import BATCH, Swept


def record(
    session: Session,
    actor: Actor,
    action: str,
    target: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str | None = None,
    workspace_id: str | None = None,
) -> None:
    """Write down an act, in its transaction: `record(session, actor, "schedule.create", f"schedule:{row.id}", …)`.

    before, after: the thing as callers see it, without secrets; None where there was or is none. Their digests
    are kept, and of the members that differ what is no list or mapping: what users sent goes into one of those.
    workspace_id: the thing's, where it is not the actor's. To be called once an act, after `Once.begin` let it
    happen, so that a repeat writes nothing.
    """
    audit.add(
        session,
        Act(
            workspace_id=workspace_id or actor.workspace_id,
            actor_id=actor.key_id,
            actor=actor.name,
            source=actor.source,
            action=action,
            target=target,
            reason=reason or None,
            before=None if before is None else digest(before),
            after=None if after is None else digest(after),
            changes=changes(before, after),
        ),
    )


def seal(deps: Deps) -> Swept:
    """Link the acts that were written since to the chain. One process at a time; others leave it to that one."""
    with deps.db.read() as session:
        if not audit.any_unsealed(session):
            return Swept()
    with deps.db.transaction() as session:
        if not audit.take_turn(session):
            return Swept()
        head = audit.last_seal(session)
        position, previous = (0, GENESIS) if head is None else (head.position, head.digest)
        seals = []
        for row in audit.unsealed(session, BATCH):
            position, last = position + 1, previous
            previous = link(last, content(row))
            seals.append({"position": position, "audit_id": row.id, "digest": previous, "previous": last})
        if seals:
            audit.add_seals(session, seals)
    return Swept(found=len(seals))


def content(row: Audit) -> dict[str, Any]:
    """All that a row says, as it is digested."""
    return {
        "id": row.id,
        "workspace_id": row.workspace_id,
        "at": moment(row.at),
        "actor_id": row.actor_id,
        "actor": row.actor,
        "source": row.source,
        "action": row.action,
        "target": row.target,
        "reason": row.reason,
        "before": row.before,
        "after": row.after,
        "changes": row.changes,
    }
