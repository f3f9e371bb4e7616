"""What is written to a run's row on PostgreSQL: each by one prepared statement, with its event."""

from typing import Any

from sqlalchemy.orm import Session

from models.base import dump_json
from models.queries.prepared import Prepared
from models.run_moves import NewRun, RunMove

INFO = Prepared(
    "run_info",
    ("uuid",),
    """
SELECT run.id::text, run.workspace_id::text, workflow.name, run.version_id::text, run.has_budget, run.priority,
  run_data.inputs, run_data.overrides, run.concurrency_key, run.parent_run_id::text, run.parent_step,
  run.parent_attempt, run.detached, run.depth, run.budget_run_id::text
FROM run JOIN workflow ON workflow.id = run.workflow_id JOIN run_data ON run_data.run_id = run.id
WHERE run.id = $1
""",
)
LOCK = Prepared(
    "run_lock",
    ("uuid", "uuid"),
    """
SELECT status, stopping, open_steps, error, seq, timeout_at FROM run
WHERE id = $1 AND ($2 IS NULL OR workspace_id = $2) FOR UPDATE
""",
)
# An event's xid is the run's, or this transaction's where that is greater: it is never placed before its predecessor.
MOVE = Prepared(
    "run_move",
    ("uuid", "text", "text[]", "bool", "text", "text", "text", "text", "text", "bool"),
    """
WITH moved AS (
  UPDATE run SET
    status = $2, seq = seq + 1, xid = greatest(xid, pg_current_xact_id()::text::bigint),
    started_at = CASE WHEN $2 = 'running' THEN coalesce(started_at, clock_timestamp()) ELSE started_at END,
    finished_at = CASE WHEN $4 THEN clock_timestamp() WHEN $2 NOT IN ('running', 'compensating') THEN finished_at END,
    stopping = CASE WHEN $2 <> 'compensating' THEN stopping END, error = coalesce(error, $8)
  WHERE id = $1 AND status = ANY ($3) AND (NOT $10 OR (error IS NULL AND stopping IS NULL))
  RETURNING id, seq, xid
), logged AS (
  INSERT INTO event (run_id, seq, type, at, actor, data, xid)
  SELECT id, seq, $5, clock_timestamp(), $6, $7, xid FROM moved
), given AS (
  UPDATE run_data SET outputs = $9 FROM moved WHERE $9 IS NOT NULL AND run_data.run_id = moved.id
)
SELECT seq FROM moved
""",
)
NOTE = Prepared(
    "run_note",
    ("uuid", "text", "text", "text", "text"),
    """
WITH noted AS (
  UPDATE run SET seq = seq + 1, xid = greatest(xid, pg_current_xact_id()::text::bigint) WHERE id = $1
  RETURNING id, seq, xid
)
INSERT INTO event (run_id, seq, type, step, at, actor, data, xid)
SELECT id, seq, $2, $3, clock_timestamp(), $4, $5, xid FROM noted RETURNING seq
""",
)
NEW = Prepared(
    "run_new",
    (
        "uuid", "uuid", "uuid", "uuid", "text", "int", "int", "int", "bool", "text", "timestamptz",
        "uuid", "text", "int", "bool", "int", "uuid",
        "text", "text", "text", "text", "text", "text",
        "json", "text[]", "text[]", "text[]",
    ),
    """
WITH new AS (
  INSERT INTO run (id, workspace_id, workflow_id, version_id, status, seq, open_steps, priority, has_budget,
    concurrency_key, timeout_at, parent_run_id, parent_step, parent_attempt, detached, depth, budget_run_id,
    cost_microcents, created_at, started_at)
  SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 0, clock_timestamp(),
    CASE WHEN $5 = 'running' THEN clock_timestamp() END
), given AS (
  INSERT INTO run_data (run_id, inputs, variables, overrides, labels, created_by, forked_from)
  VALUES ($1, $18, $19, $20, $21, $22, $23)
), begun AS (
  INSERT INTO step (run_id, no, path, status, attempt, undecided, live, tries, losses, queue, in_chord, sends,
    queued_at, sent_at)
  SELECT $1, s.no, s.path, CASE s.live WHEN 0 THEN 'pending' ELSE 'queued' END, 0, s.undecided, s.live, 0, 0, s.queue,
    false, s.live, CASE s.live WHEN 1 THEN at END, CASE s.live WHEN 1 THEN at END
  FROM clock_timestamp() AS at, json_to_recordset($24) AS s(no bigint, path text, undecided int, live int, queue text)
  RETURNING no, path, attempt, tries, losses, live
)
INSERT INTO event (run_id, seq, type, step, at, actor, data)
SELECT $1, x.seq, x.type, x.step, clock_timestamp(), x.actor, x.data FROM (
  SELECT e.seq, e.type, NULL AS step, e.actor, e.data
  FROM unnest($25, $26, $27) WITH ORDINALITY AS e(type, actor, data, seq)
  UNION ALL
  SELECT cardinality($25) + row_number() OVER (ORDER BY no), 'step.queued', path, NULL,
    format('{"attempt":%s,"tries":%s,"losses":%s}', attempt, tries, losses) FROM begun WHERE live = 1
) x RETURNING seq
""",
)  # fmt: skip


def info(session: Session, run_id: str) -> tuple[Any, ...] | None:
    """See `models.queries.runs.info`; the columns of its RunInfo."""
    rows = INFO.rows(session, (run_id,))
    return rows[0] if rows else None


def lock(session: Session, run_id: str, workspace_id: str | None) -> tuple[Any, ...] | None:
    """See `models.queries.runs.lock`; the columns of its RunState."""
    rows = LOCK.rows(session, (run_id, workspace_id))
    return rows[0] if rows else None


def move(session: Session, wanted: RunMove) -> bool:
    """See `models.queries.runs.move`."""
    return bool(
        MOVE.rows(
            session,
            (
                wanted.run_id,
                wanted.to.value,
                wanted.sources,
                wanted.ends,
                wanted.event,
                wanted.actor,
                dump_json(wanted.data),
                _text(wanted.error),
                _text(wanted.outputs),
                wanted.unless_failed,
            ),
        )
    )


def note(session: Session, run_id: str, event: str, data: dict[str, Any], actor: str | None, step: str | None) -> None:
    """See `models.queries.runs.note`."""
    rows = NOTE.rows(session, (run_id, event, step, actor, dump_json(data)))
    assert rows, f"run {run_id} is not there"


def create(session: Session, new: NewRun) -> None:
    """See `models.queries.runs.create`."""
    NEW.rows(
        session,
        (
            new.id,
            new.workspace_id,
            new.workflow_id,
            new.version_id,
            new.status.value,
            new.seq,
            new.open_steps,
            new.priority,
            new.has_budget,
            new.concurrency_key,
            new.timeout_at,
            new.parent_run_id,
            new.parent_step,
            new.parent_attempt,
            new.detached,
            new.depth,
            new.budget_run_id,
            dump_json(new.inputs),
            dump_json(new.variables),
            _text(new.overrides),
            dump_json(new.labels),
            new.created_by,
            _text(new.forked_from),
            new.steps,
            [event.type for event in new.events],
            [event.actor for event in new.events],
            [dump_json(event.data) for event in new.events],
        ),
    )


def _text(value: Any) -> str | None:
    return None if value is None else dump_json(value)
