"""Gateways of workspaces: found, changed, and how they were when they were last asked."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, Text, and_, cast, delete, func, or_, select, update
from sqlalchemy.orm import Session

from models.base import uuid7
from models.gateway import Gateway
from models.queries.dialect import as_id, insert
from models.queries.runs import now
from models.step import Attempt, Step
from models.workspace import Workspace


def add(session: Session, values: Mapping[str, Any]) -> str | None:
    """Add a gateway, of unknown status; its id, None when the name is taken."""
    at = now(session)
    row = insert(session, Gateway).values(id=uuid7(), **values, status="unknown", created_at=at, updated_at=at)
    added = row.on_conflict_do_nothing(index_elements=["workspace_id", "name"]).returning(Gateway.id)
    return session.execute(added).scalar_one_or_none()


def get(session: Session, gateway_id: str, *, lock: bool = False) -> Gateway | None:
    """A gateway by its id, of any workspace; with `lock` nobody else changes it."""
    query = select(Gateway).where(Gateway.id == gateway_id)
    return session.scalars(query.with_for_update(key_share=True) if lock else query).first()


def find(session: Session, workspace_id: str, id_or_name: str) -> Gateway | None:
    """A gateway of a workspace, by id or name."""
    return session.scalars(_named(workspace_id, id_or_name)).first()


def hold(session: Session, workspace_id: str, id_or_name: str) -> Gateway | None:
    """The same, kept from being removed until this transaction ends."""
    return session.scalars(_named(workspace_id, id_or_name).with_for_update(key_share=True, read=True)).first()


def lock(session: Session, workspace_id: str, id_or_name: str) -> Gateway | None:
    """The same, for this transaction alone."""
    return session.scalars(_named(workspace_id, id_or_name).with_for_update()).first()


def page(session: Session, workspace_id: str, *, after: str | None, limit: int) -> Sequence[Gateway]:
    """Gateways by name, after one of them."""
    query = select(Gateway).where(Gateway.workspace_id == workspace_id).order_by(Gateway.name).limit(limit)
    return session.scalars(query if after is None else query.where(Gateway.name > after)).all()


def everywhere(session: Session, limit: int) -> Sequence[tuple[str, Gateway]]:
    """Gateways of all workspaces, with the workspace's name."""
    query = select(Workspace.name, Gateway).join(Workspace, Workspace.id == Gateway.workspace_id)
    rows = session.execute(query.order_by(Workspace.name, Gateway.name).limit(limit))
    return [(workspace, gateway) for workspace, gateway in rows]


def change(session: Session, gateway_id: str, values: Mapping[str, Any]) -> None:
    """Write what is given of a gateway."""
    changed = update(Gateway).where(Gateway.id == gateway_id)
    session.execute(changed.values(**values, updated_at=now(session)))


def remove(session: Session, gateway_id: str) -> None:
    """Remove a gateway that no agent is registered with."""
    session.execute(delete(Gateway).where(Gateway.id == gateway_id))


def name_is_taken(session: Session, workspace_id: str, name: str, but: str) -> bool:
    """Whether another gateway than `but` has a name."""
    query = select(Gateway.id).where(Gateway.workspace_id == workspace_id, Gateway.name == name, Gateway.id != but)
    return session.execute(query).first() is not None


def serialize(session: Session, workspace_id: str) -> None:
    """Let the transactions that name a workspace's default gateway go one after the other."""
    session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update(key_share=True))


def no_default(session: Session, workspace_id: str) -> None:
    """No gateway of the workspace is the default one any more."""
    session.execute(
        update(Gateway)
        .where(Gateway.workspace_id == workspace_id, Gateway.is_default.is_(True))
        .values(is_default=False, updated_at=now(session))
    )


def default(session: Session, workspace_id: str) -> Gateway | None:
    """The gateway for agents that are not registered: the default one, else the first of kind `local`."""
    query = select(Gateway).where(Gateway.workspace_id == workspace_id)
    either = query.where(or_(Gateway.is_default.is_(True), Gateway.kind == "local"))
    return session.scalars(either.order_by(Gateway.is_default.desc(), Gateway.name).limit(1)).first()


def of_kind(session: Session, workspace_id: str, kind: str) -> str | None:
    """The first gateway of a kind, by name."""
    query = select(Gateway.id).where(Gateway.workspace_id == workspace_id, Gateway.kind == kind)
    return session.execute(query.order_by(Gateway.name).limit(1)).scalar_one_or_none()


def work_at(session: Session, gateway_id: str) -> int:
    """How many steps run or wait whose work was sent to a gateway."""
    # what follows work that was sent has a lease or a due time: both have their index
    live = or_(Step.status == "running", and_(Step.status == "waiting", Step.due_at.is_not(None)))
    query = select(func.count()).select_from(Step).join(
        Attempt,
        and_(Attempt.run_id == Step.run_id, Attempt.no == Step.no, Attempt.number == Step.attempt),
    )
    there = cast(Attempt.assigned, Text).contains(f'"{gateway_id}"', autoescape=True)
    return int(session.execute(query.where(live, there)).scalar_one())


def well(session: Session, gateway_id: str, version: str | None) -> None:
    """A gateway answered."""
    values: dict[str, Any] = {"status": "healthy", "failures": 0, "error": None, "checked_at": now(session)}
    if version is not None:
        values["version"] = version
    session.execute(update(Gateway).where(Gateway.id == gateway_id).values(**values))


def failed(session: Session, gateway_id: str, reason: str) -> int:
    """A gateway did not answer; how often in a row by now."""
    values = {"failures": Gateway.failures + 1, "error": reason, "checked_at": now(session)}
    row = update(Gateway).where(Gateway.id == gateway_id).values(**values).returning(Gateway.failures)
    return int(session.execute(row).scalar_one_or_none() or 0)


def unhealthy(session: Session, gateway_id: str) -> bool:
    """A gateway failed too often; False where it was unhealthy already."""
    row = update(Gateway).where(Gateway.id == gateway_id, Gateway.status != "unhealthy")
    return session.execute(row.values(status="unhealthy").returning(Gateway.id)).first() is not None


def any_due(session: Session, before: float) -> bool:
    """Whether a gateway was not asked since a moment, in seconds since 1970."""
    return session.execute(_due(before, 1)).first() is not None


def take_due(session: Session, before: float, limit: int) -> list[str]:
    """Gateways that were not asked since a moment: they count as asked now, for whoever takes them."""
    taken = session.scalars(_due(before, limit).with_for_update(skip_locked=True)).all()
    session.execute(update(Gateway).where(Gateway.id.in_(taken)).values(checked_at=now(session)))
    return list(taken)


def paired(session: Session, gateway_id: str, sealed: str) -> None:
    """Keep the device token that a gateway gave, encrypted."""
    session.execute(update(Gateway).where(Gateway.id == gateway_id).values(device_token=sealed))


def _named(workspace_id: str, id_or_name: str) -> Select[Gateway]:
    named = or_(Gateway.id == as_id(id_or_name), Gateway.name == id_or_name.lower())
    return select(Gateway).where(Gateway.workspace_id == workspace_id, named)


def _due(before: float, limit: int) -> Select[str]:
    past = or_(Gateway.checked_at.is_(None), Gateway.checked_at <= datetime.fromtimestamp(before, UTC))
    return select(Gateway.id).where(past).order_by(Gateway.checked_at, Gateway.id).limit(limit)
