"""Where the two databases differ: INSERT with ON CONFLICT, and text that is no id."""

import re

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.base import Base

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def insert(session: Session, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT into `table` that takes `on_conflict_do_nothing` and `on_conflict_do_update`."""
    dialect = session.get_bind().dialect.name
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def as_id(text: str) -> str | None:
    """`text` when it is an id as we write them, else None, which no row has.

    PostgreSQL answers other text in a comparison with a uuid column with an error.
    """
    return text if _ID.fullmatch(text) else None
