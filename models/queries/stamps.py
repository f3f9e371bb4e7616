"""When something last happened: sweeps and the origin of the clock."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.operation import Stamp


def put(session: Session, name: str, at: float) -> None:
    """Note that `name` happened at `at` (seconds since 1970)."""
    moment = datetime.fromtimestamp(at, UTC)
    statement = _insert(session).values(name=name, at=moment)
    session.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"at": moment}))


def first(session: Session, name: str, at: float) -> float:
    """The moment `name` first happened: `at`, unless an earlier call noted one."""
    moment = datetime.fromtimestamp(at, UTC)
    session.execute(_insert(session).values(name=name, at=moment).on_conflict_do_nothing())
    return session.execute(select(Stamp.at).where(Stamp.name == name)).scalar_one().timestamp()


def last(session: Session, names: Iterable[str]) -> dict[str, float]:
    """When each of `names` last happened; the ones that never did are absent."""
    rows = session.execute(select(Stamp.name, Stamp.at).where(Stamp.name.in_(list(names))))
    return {name: at.timestamp() for name, at in rows}


def _insert(session: Session) -> postgresql.Insert | sqlite.Insert:
    dialect = session.get_bind().dialect.name
    return sqlite.insert(Stamp) if dialect == "sqlite" else postgresql.insert(Stamp)
