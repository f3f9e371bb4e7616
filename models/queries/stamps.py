"""When something last happened: sweeps and the origin of the clock."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.operation import Stamp

_PUT_ALL_POSTGRESQL = text(
    "INSERT INTO stamp (name, at) SELECT name, clock_timestamp() FROM json_array_elements_text(CAST(:names AS json))"
    " AS given (name) ON CONFLICT (name) DO UPDATE SET at = excluded.at"
)
_PUT_ALL_SQLITE = text(
    "INSERT INTO stamp (name, at) SELECT value, db_now() FROM json_each(:names) WHERE true"
    " ON CONFLICT (name) DO UPDATE SET at = excluded.at"
)

_AGES_POSTGRESQL = text(
    "SELECT name, extract(epoch FROM clock_timestamp() - at) AS age FROM stamp"
    ' WHERE name COLLATE "C" BETWEEN :first AND :last'
)
_AGES_SQLITE = text("SELECT name, db_now() - at AS age FROM stamp WHERE name BETWEEN :first AND :last")


def put(session: Session, name: str, at: float) -> None:
    """Note that `name` happened at `at` (seconds since 1970)."""
    moment = datetime.fromtimestamp(at, UTC)
    statement = _insert(session).values(name=name, at=moment)
    session.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"at": moment}))


def put_all(session: Session, names: Sequence[str]) -> None:
    """Note that all of these happened now, by the database's clock: one statement."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    statement = _PUT_ALL_SQLITE if sqlite else _PUT_ALL_POSTGRESQL
    session.execute(statement, {"names": json.dumps(sorted(names))})


def first(session: Session, name: str, at: float) -> float:
    """The moment `name` first happened: `at`, unless an earlier call noted one."""
    moment = datetime.fromtimestamp(at, UTC)
    session.execute(_insert(session).values(name=name, at=moment).on_conflict_do_nothing())
    return session.execute(select(Stamp.at).where(Stamp.name == name)).scalar_one().timestamp()


def last(session: Session, names: Iterable[str]) -> dict[str, float]:
    """When each of `names` last happened; the ones that never did are absent."""
    rows = session.execute(select(Stamp.name, Stamp.at).where(Stamp.name.in_(list(names))))
    return {name: at.timestamp() for name, at in rows}


def ages(session: Session, prefix: str) -> dict[str, float]:
    """How many seconds ago by the database's clock all that begins so last happened, by what follows that."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    found = session.execute(
        _AGES_SQLITE if sqlite else _AGES_POSTGRESQL, {"first": prefix, "last": prefix + "\x7f"}
    )
    return {row.name.removeprefix(prefix): float(row.age) for row in found}


def _insert(session: Session) -> postgresql.Insert | sqlite.Insert:
    dialect = session.get_bind().dialect.name
    return sqlite.insert(Stamp) if dialect == "sqlite" else postgresql.insert(Stamp)
