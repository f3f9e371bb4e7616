"""Statements that PostgreSQL plans once a connection."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement with a name. `types`: its parameters' types, in order of $1, $2, …"""

    name: str
    types: tuple[str, ...]
    text: str

    def rows(self, session: Session, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Execute it within the session's transaction."""
        connection: Any = session.connection().connection
        with closing(connection.cursor()) as cursor:
            if self.name not in connection.info:
                self._prepare(cursor)
                connection.info[self.name] = True
            cursor.execute(f"EXECUTE {self.name} ({', '.join(['%s'] * len(self.types))})", parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def _prepare(self, cursor: Any) -> None:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name = %s", (self.name,))
        if cursor.fetchone()[0] == 0:
            cursor.execute(f"PREPARE {self.name} ({', '.join(self.types)}) AS {self.text}")


def array(values: Iterable[object]) -> str:
    """Numbers, truth values and None as an array's text, which is parsed faster than a list of expressions."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"
