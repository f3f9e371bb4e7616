"""Hooks of workspaces, and what came to them under which number."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, delete, or_, select, tuple_, update
from sqlalchemy.orm import Session

from models.base import uuid7
from models.hook import Hook, HookDelivery
from models.queries.dialect import as_id, insert
from models.queries.runs import now
from models.workflow import Workflow


def add(session: Session, values: Mapping[str, Any]) -> str | None:
    """Add a hook; its id, None when the name is taken."""
    at = now(session)
    row = insert(session, Hook).values(id=uuid7(), **values, created_at=at, updated_at=at)
    added = row.on_conflict_do_nothing(index_elements=["workspace_id", "name"]).returning(Hook.id)
    return session.execute(added).scalar_one_or_none()


def find(session: Session, workspace_id: str, id_or_name: str, *, lock: bool = False) -> Row[Hook, str | None] | None:
    """A hook of a workspace by id or name, and its workflow's name."""
    named = or_(Hook.id == as_id(id_or_name), Hook.name == id_or_name.lower())
    query = _hooks().where(Hook.workspace_id == workspace_id, named).execution_options(populate_existing=True)
    return session.execute(query.with_for_update(of=Hook) if lock else query).first()


def by_digest(session: Session, digest: str) -> Row[Hook, str | None] | None:
    """The hook of a token, of any workspace."""
    return session.execute(_hooks().where(Hook.digest == digest)).first()


def page(session: Session, workspace_id: str, *, after: str | None, limit: int) -> Sequence[Row[Hook, str | None]]:
    """Hooks by name, after one of them, with their workflows' names."""
    query = _hooks().where(Hook.workspace_id == workspace_id).order_by(Hook.name).limit(limit)
    return session.execute(query if after is None else query.where(Hook.name > after)).all()


def name_is_taken(session: Session, workspace_id: str, name: str, but: str) -> bool:
    """Whether another hook than `but` has a name."""
    query = select(Hook.id).where(Hook.workspace_id == workspace_id, Hook.name == name, Hook.id != but)
    return session.execute(query).first() is not None


def change(session: Session, hook_id: str, values: Mapping[str, Any]) -> None:
    """Write what is given of a hook."""
    session.execute(update(Hook).where(Hook.id == hook_id).values(**values, updated_at=now(session)))


def remove(session: Session, hook_id: str) -> None:
    """Remove a hook, and what is known of what came to it."""
    session.execute(delete(Hook).where(Hook.id == hook_id))


def hold(session: Session, hook_id: str) -> bool:
    """Keep a hook as it is until this transaction ends; False where it is gone."""
    query = select(Hook.id).where(Hook.id == hook_id).with_for_update(read=True, key_share=True)
    return session.execute(query).first() is not None


def claim(session: Session, hook_id: str, number: str) -> bool:
    """Take a number for this transaction; False when it came before. A twin waits here until the first has ended."""
    row = insert(session, HookDelivery).values(hook_id=hook_id, number=number, created_at=now(session))
    claimed = session.execute(row.on_conflict_do_nothing().returning(HookDelivery.number))
    return claimed.first() is not None


def kept(session: Session, hook_id: str, number: str) -> dict[str, Any] | None:
    """What was made of what came under a number; None where nothing has come."""
    query = select(HookDelivery.answer).where(HookDelivery.hook_id == hook_id, HookDelivery.number == number)
    found = session.execute(query).first()
    return None if found is None else dict(found.answer)


def keep(session: Session, hook_id: str, number: str, answer: Mapping[str, Any]) -> None:
    """Write down what was made of what came under the number that this transaction took."""
    mine = update(HookDelivery).where(HookDelivery.hook_id == hook_id, HookDelivery.number == number)
    session.execute(mine.values(answer=dict(answer)))


def any_before(session: Session, before: float) -> bool:
    """Whether something came before a moment, in seconds since 1970."""
    return session.execute(select(HookDelivery.created_at).where(_past(before)).limit(1)).first() is not None


def purge(session: Session, before: float, limit: int) -> int:
    """Forget at most `limit` numbers of what came before a moment; how many."""
    key = HookDelivery.hook_id, HookDelivery.number
    old = select(*key).where(_past(before)).order_by(HookDelivery.created_at).limit(limit)
    gone = delete(HookDelivery).where(tuple_(*key).in_(old)).returning(HookDelivery.number)
    return len(session.execute(gone).all())


def _past(before: float) -> Any:
    return HookDelivery.created_at < datetime.fromtimestamp(before, UTC)


def _hooks() -> Select[Hook, str | None]:
    return select(Hook, Workflow.name).outerjoin(Workflow, Workflow.id == Hook.workflow_id)
