"""Where many runs stand, and their new events, each in one statement however many runs are followed."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, TextClause, select, text
from sqlalchemy.orm import Session

from models.event import Event
from models.run import Run

_HEADS_POSTGRESQL = "SELECT id, seq, status FROM run WHERE id = ANY (CAST(:ids AS uuid[]))"
_HEADS_SQLITE = "SELECT id, seq, status FROM run WHERE id IN (SELECT value FROM json_each(:ids))"
_EVENTS_POSTGRESQL = """
SELECT e.* FROM unnest(CAST(:ids AS uuid[]), CAST(:afters AS int[]), CAST(:lasts AS int[])) AS f(id, after, last)
JOIN event e ON e.run_id = f.id AND e.seq > f.after AND e.seq <= f.last
ORDER BY e.run_id, e.seq LIMIT :limit
"""
_EVENTS_SQLITE = """
SELECT e.* FROM json_each(:spans) AS f
JOIN event e ON e.run_id = f.value ->> 0 AND e.seq > f.value ->> 1 AND e.seq <= f.value ->> 2
ORDER BY e.run_id, e.seq LIMIT :limit
"""


def heads(session: Session, run_ids: Collection[str]) -> Sequence[Row[Any]]:
    """Id, last event's number and status of each of these runs."""
    asked = sorted(run_ids)
    if session.get_bind().dialect.name == "sqlite":
        return session.execute(_of_run(_HEADS_SQLITE), {"ids": json.dumps(asked)}).all()
    return session.execute(_of_run(_HEADS_POSTGRESQL), {"ids": asked}).all()


def events(session: Session, spans: Mapping[str, tuple[int, int]], limit: int) -> Sequence[Event]:
    """At most `limit` events of these runs, by run and number: from after the first number to the last of a span."""
    asked = [(run_id, *span) for run_id, span in sorted(spans.items())]
    if session.get_bind().dialect.name == "sqlite":
        return _events(session, _EVENTS_SQLITE, {"spans": json.dumps(asked), "limit": limit})
    ids, afters, lasts = (list(each) for each in zip(*asked, strict=True))
    given = {"ids": ids, "afters": afters, "lasts": lasts, "limit": limit}
    return _events(session, _EVENTS_POSTGRESQL, given)


def _events(session: Session, statement: str, given: dict[str, Any]) -> Sequence[Event]:
    return session.scalars(select(Event).from_statement(text(statement)), given).all()


def _of_run(statement: str) -> Any:
    parsed: TextClause = text(statement)
    return parsed.columns(Run.id, Run.seq, Run.status)
