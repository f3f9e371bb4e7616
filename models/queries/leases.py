"""Renewal of leases: all attempts that a process holds, in one statement."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session


class Held(NamedTuple):
    """An attempt that a process holds."""

    run_id: str
    no: int
    attempt: int


# Rows are locked in one order by every renewal, so that two of them cannot deadlock; a row that a transition
# holds is renewed after it.
_POSTGRESQL = text("""
UPDATE step SET lease_until = clock_timestamp() + make_interval(secs => :seconds)
FROM (
  SELECT s.run_id, s.no FROM json_to_recordset(CAST(:held AS json)) AS h(run_id uuid, no bigint, attempt int)
  JOIN step s ON s.run_id = h.run_id AND s.no = h.no AND s.attempt = h.attempt AND s.status = 'running'
  ORDER BY s.run_id, s.no FOR UPDATE OF s SKIP LOCKED
) k WHERE step.run_id = k.run_id AND step.no = k.no
""")
_KEPT = text("""
SELECT s.run_id, s.no, s.attempt FROM json_to_recordset(CAST(:held AS json)) AS h(run_id uuid, no bigint, attempt int)
JOIN step s ON s.run_id = h.run_id AND s.no = h.no AND s.attempt = h.attempt AND s.status = 'running'
""")
_SQLITE = text("""
UPDATE step SET lease_until = db_now() + :seconds
WHERE (run_id, no, attempt) IN
  (SELECT value ->> 'run_id', value ->> 'no', value ->> 'attempt' FROM json_each(:held)) AND status = 'running'
""")
_KEPT_SQLITE = text("""
SELECT run_id, no, attempt FROM step
WHERE (run_id, no, attempt) IN
  (SELECT value ->> 'run_id', value ->> 'no', value ->> 'attempt' FROM json_each(:held)) AND status = 'running'
""")


def renew(session: Session, held: Sequence[Held], seconds: float) -> set[Held]:
    """Renew these attempts; the ones that are still running under their fence."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    given = json.dumps([attempt._asdict() for attempt in held])
    session.execute(_SQLITE if sqlite else _POSTGRESQL, {"held": given, "seconds": seconds})
    rows = session.execute(_KEPT_SQLITE if sqlite else _KEPT, {"held": given})
    return {Held(str(row.run_id), row.no, row.attempt) for row in rows}
