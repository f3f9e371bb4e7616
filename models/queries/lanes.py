"""Steps that wait for their turn in a lane: held back, counted, taken to be sent.

A held step is `queued`, unsent and has a lane. Nothing here is a counter: what is sent, taken or held is counted
in the rows at each question.
"""

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.orm import Session

from models.queries.dialect import insert
from models.queries.going import GOES_ON
from models.queries.runs import now
from models.queries.sweeps import DueStep, clock
from models.slots import Consumer

_HELD = "step.status = 'queued' AND step.sent_at IS NULL AND step.lane"
_HOLD = """
{wanted} UPDATE step SET sent_at = NULL, sends = 0, lane = :lane, rank = :rank, slots = :slots
{which}
"""
# The keys are joined as rows of their own, the status too: PostgreSQL would otherwise look through all of them for
# each step, or through the index of queued steps for each of them.
_HOLD_POSTGRESQL = _HOLD.format(
    wanted="WITH wanted AS MATERIALIZED (SELECT CAST(:run AS uuid) AS run_id, "
    "json_array_elements_text(CAST(:nos AS json))::bigint AS no, CAST('queued' AS text) AS status)",
    which="FROM wanted WHERE step.run_id = wanted.run_id AND step.no = wanted.no AND step.status = wanted.status",
)
_HOLD_SQLITE = _HOLD.format(
    wanted="",
    which="WHERE run_id = :run AND no IN (SELECT value FROM json_each(:nos)) AND status = 'queued'",
)
_IN_ORDER = f"""
FROM step JOIN run ON run.id = step.run_id WHERE {_HELD} = :lane AND {GOES_ON} {{more}}
ORDER BY step.rank, step.queued_at, step.no LIMIT :limit
"""
_NEXT = f"SELECT step.run_id, step.no {_IN_ORDER.format(more='')}"
_HEAD = f"SELECT step.run_id, step.no, step.attempt {_IN_ORDER.format(more='AND NOT step.in_chord')}"
_TAKE = """
UPDATE step SET sent_at = {now}, sends = step.sends + 1, in_chord = {false} {which}
RETURNING step.run_id, step.no, step.path, step.status, step.attempt, step.tries, step.losses, step.queue,
  step.live_in, step.rank, step.queued_at
"""
_TAKE_POSTGRESQL = _TAKE.format(
    now="clock_timestamp()",
    false="false",
    which=f"FROM ({_NEXT} FOR UPDATE OF step SKIP LOCKED) due "
    "WHERE step.run_id = due.run_id AND step.no = due.no",
)
_TAKE_SQLITE = _TAKE.format(now="db_now()", false="0", which=f"WHERE (run_id, no) IN ({_NEXT})")
_SENT = f"""
SELECT count(*) FROM (
  SELECT 1 FROM step JOIN run ON run.id = step.run_id
  WHERE step.status = 'queued' AND step.sent_at IS NOT NULL AND step.queue = :queue
    AND run.workspace_id = :workspace AND {GOES_ON}
  LIMIT :most
) AS sent
"""  # noqa: S608
# The next lane after one, again and again: the index is not read step by step.
_LANES = f"""
WITH RECURSIVE found(lane) AS (
  SELECT (SELECT step.lane FROM step WHERE {_HELD} > '' ORDER BY step.lane LIMIT 1)
  UNION ALL
  SELECT (SELECT step.lane FROM step WHERE {_HELD} > found.lane ORDER BY step.lane LIMIT 1)
  FROM found WHERE found.lane IS NOT NULL
) SELECT lane FROM found WHERE lane IS NOT NULL LIMIT :limit
"""  # noqa: S608
_ANY = f"SELECT 1 FROM step WHERE {_HELD} = :lane LIMIT 1"  # noqa: S608


_STRAY = f"""
SELECT step.run_id, step.no FROM step JOIN run ON run.id = step.run_id
WHERE step.status = 'queued' AND step.sent_at IS NULL AND step.lane IS NULL
  AND {GOES_ON} LIMIT :limit
"""  # noqa: S608
_GATHER = """
UPDATE step SET sends = 0,
  lane = (SELECT CAST(run.workspace_id AS text) || :middle || step.queue FROM run WHERE run.id = step.run_id),
  rank = coalesce(step.rank, (SELECT -run.priority FROM run WHERE run.id = step.run_id))
"""
_GATHER_POSTGRESQL = f"""
{_GATHER} FROM ({_STRAY} FOR UPDATE OF step SKIP LOCKED) due
WHERE step.run_id = due.run_id AND step.no = due.no
"""
_GATHER_SQLITE = f"{_GATHER} WHERE (run_id, no) IN ({_STRAY})"


def hold(
    session: Session, run_id: str, lane: str, rank: int, nos: Collection[int], *, slots: int | None = None
) -> None:
    """Hold queued steps of a run back: they are unsent, and wait in the lane, for `slots` of a pool each."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    values = {"run": run_id, "lane": lane, "rank": rank, "nos": json.dumps(sorted(nos)), "slots": slots}
    session.execute(text(_HOLD_SQLITE if sqlite else _HOLD_POSTGRESQL), values)


def alone(session: Session, lane: str) -> bool:
    """Whether this transaction is the one that deals with a lane; True from now to its end, or False."""
    if session.get_bind().dialect.name == "sqlite":
        return True
    return bool(
        session.execute(
            text("SELECT pg_try_advisory_xact_lock(hashtextextended(:lane, 0))"), {"lane": lane}
        ).scalar()
    )


def wait(session: Session, lane: str) -> None:
    """As `alone`, but wait for whoever deals with the lane. Take no run's lock before it."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:lane, 0))"), {"lane": lane})


def any_held(session: Session, lane: str) -> bool:
    """Whether a step waits in the lane."""
    return session.execute(text(_ANY), {"lane": lane}).first() is not None


def held(session: Session, limit: int) -> list[str]:
    """The lanes in which steps wait."""
    return list(session.execute(text(_LANES), {"limit": limit}).scalars())


def first(session: Session, lane: str) -> tuple[str, int] | None:
    """Run and number of the step that goes next in a lane."""
    row = session.execute(text(_NEXT), {"lane": lane, "limit": 1}).first()
    return None if row is None else (str(row.run_id), row.no)


def head(session: Session, lane: str, limit: int) -> list[tuple[str, int, int]]:
    """Run, number and attempt of the steps that go next in a lane, but for those that a chord carries."""
    rows = session.execute(text(_HEAD), {"lane": lane, "limit": limit})
    return [(str(row.run_id), row.no, row.attempt) for row in rows]


def any_stray(session: Session) -> bool:
    """Whether a step that was not sent waits in no lane: its publishing failed, or its run was paused."""
    return session.execute(text(_STRAY), {"limit": 1}).first() is not None


def gather(session: Session, middle: str, limit: int) -> None:
    """Put such steps, `limit` at most, into the lane of their workspace, `middle` and queue."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    values = {"middle": middle, "limit": limit}
    session.execute(text(_GATHER_SQLITE if sqlite else _GATHER_POSTGRESQL), values)


def take(session: Session, lane: str, limit: int) -> list[tuple[int, DueStep]]:
    """Mark the next steps of a lane as sent, `limit` at most: each with its rank, in the order they go."""
    if limit <= 0:
        return []
    sqlite = session.get_bind().dialect.name == "sqlite"
    rows = session.execute(
        text(_TAKE_SQLITE if sqlite else _TAKE_POSTGRESQL), {"lane": lane, "limit": limit}
    ).all()
    rows = sorted(rows, key=lambda row: (row.rank, row.queued_at, row.no))
    return [(row.rank, _due(row)) for row in rows]


def _due(row: Row[Any]) -> DueStep:
    found = {name: value for name, value in row._mapping.items() if name not in ("rank", "queued_at")}
    return DueStep(**{**found, "run_id": str(row.run_id)})


def sent(session: Session, workspace_id: str, queue: str, most: int) -> int:
    """How many steps of a workspace and queue are sent and unclaimed, in runs that go on; counted up to `most`."""
    values = {"workspace": workspace_id, "queue": queue, "most": most}
    return int(session.execute(text(_SENT), values).scalar_one())


def announce(
    session: Session, process: str, queues: Collection[str], slots: int, cheap: Collection[str] = ()
) -> None:
    """Note that a process consumes queues, `slots` messages at once, and which node types it found to be cheap."""
    values = {"slots": slots, "seen_at": now(session), "cheap": sorted(cheap) or None}
    for queue in sorted(queues):
        row = insert(session, Consumer).values(process=process, queue=queue, **values)
        session.execute(row.on_conflict_do_update(index_elements=["process", "queue"], set_=values))


def withdraw(session: Session, process: str) -> None:
    """Forget a process that ends."""
    session.execute(delete(Consumer).where(Consumer.process == process))


def forget(session: Session, older: float) -> None:
    """Forget the processes that were not seen for `older` seconds."""
    session.execute(delete(Consumer).where(Consumer.seen_at < _ago(session, older)))


def consumers(session: Session, queue: str, within: float) -> int:
    """How many messages of a queue are taken at once by the processes seen within so many seconds."""
    query = select(func.coalesce(func.sum(Consumer.slots), 0)).where(
        Consumer.queue == queue, Consumer.seen_at > _ago(session, within)
    )
    return int(session.execute(query).scalar_one())


def cheap_types(session: Session, within: float) -> frozenset[str]:
    """The node types that processes seen within so many seconds found to be cheap."""
    query = select(Consumer.cheap).where(Consumer.cheap.is_not(None), Consumer.seen_at > _ago(session, within))
    return frozenset(name for (names,) in session.execute(query.distinct()) for name in names)


def _ago(session: Session, seconds: float) -> datetime:
    return datetime.fromtimestamp(clock(session), UTC) - timedelta(seconds=seconds)
