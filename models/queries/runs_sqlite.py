"""What is written to a run's row on SQLite: the same in several statements of one BEGIN IMMEDIATE."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from models.base import dump_json
from models.run_moves import NewRun, RunMove
from models.states import RunStatus

_INFO = """
SELECT run.id, run.workspace_id, workflow.name, run.version_id, run.has_budget, run.priority, run_data.inputs,
  run_data.overrides, run.concurrency_key, run.parent_run_id, run.parent_step, run.parent_attempt, run.detached,
  run.depth, run.budget_run_id
FROM run JOIN workflow ON workflow.id = run.workflow_id JOIN run_data ON run_data.run_id = run.id
WHERE run.id = ?
"""
_LOCK = """
SELECT status, stopping, open_steps, error, seq, timeout_at FROM run
WHERE id = :run AND (:workspace IS NULL OR workspace_id = :workspace)
"""
_MOVE = """
UPDATE run SET status = :to, seq = seq + 1,
  started_at = CASE WHEN :to = 'running' THEN coalesce(started_at, db_now()) ELSE started_at END,
  finished_at = CASE WHEN :ends THEN db_now() WHEN :to NOT IN ('running', 'compensating') THEN finished_at END,
  stopping = CASE WHEN :to <> 'compensating' THEN stopping END, error = coalesce(error, :error)
WHERE id = :run AND status IN (SELECT value FROM json_each(:sources))
  AND (NOT :unless_failed OR (error IS NULL AND stopping IS NULL))
RETURNING seq
"""
_NOTE = "UPDATE run SET seq = seq + 1 WHERE id = ? RETURNING seq"
_EVENT = "INSERT INTO event (run_id, seq, type, step, at, actor, data) VALUES (?, ?, ?, ?, db_now(), ?, ?)"
_OUTPUTS = "UPDATE run_data SET outputs = ? WHERE run_id = ?"
_NEW = """
INSERT INTO run (id, workspace_id, workflow_id, version_id, status, seq, open_steps, priority, has_budget,
  concurrency_key, timeout_at, parent_run_id, parent_step, parent_attempt, detached, depth, budget_run_id,
  cost_microcents, created_at, started_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, db_now(), CASE WHEN ? THEN db_now() END)
"""
_GIVEN = """
INSERT INTO run_data (run_id, inputs, variables, overrides, labels, created_by, forked_from)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_STEPS = """
INSERT INTO step (run_id, no, path, status, attempt, undecided, live, tries, losses, queue, in_chord, sends,
  queued_at, sent_at)
SELECT ?, value ->> 'no', value ->> 'path', CASE value ->> 'live' WHEN 0 THEN 'pending' ELSE 'queued' END, 0,
  value ->> 'undecided', value ->> 'live', 0, 0, value ->> 'queue', 0, value ->> 'live',
  CASE value ->> 'live' WHEN 1 THEN db_now() END, CASE value ->> 'live' WHEN 1 THEN db_now() END
FROM json_each(?)
"""
_QUEUED = """
INSERT INTO event (run_id, seq, type, step, at, data)
SELECT run_id, ? + row_number() OVER (ORDER BY no), 'step.queued', path, db_now(),
  printf('{"attempt":%d,"tries":%d,"losses":%d}', attempt, tries, losses)
FROM step WHERE run_id = ? AND status = 'queued'
"""


def info(session: Session, run_id: str) -> tuple[Any, ...] | None:
    """See `models.queries.runs.info`; the columns of its RunInfo."""
    cursor = _cursor(session)
    cursor.execute(_INFO, (run_id,))
    row: tuple[Any, ...] | None = cursor.fetchone()
    return row


def lock(session: Session, run_id: str, workspace_id: str | None) -> tuple[Any, ...] | None:
    """See `models.queries.runs.lock`; the columns of its RunState. The one write lock stands for the row's."""
    cursor = _cursor(session)
    cursor.execute(_LOCK, {"run": run_id, "workspace": workspace_id})
    row = cursor.fetchone()
    if row is None:
        return None
    *state, timeout_at = row
    return *state, None if timeout_at is None else datetime.fromtimestamp(timeout_at, UTC)


def move(session: Session, wanted: RunMove) -> bool:
    """See `models.queries.runs.move`."""
    cursor = _cursor(session)
    cursor.execute(
        _MOVE,
        {
            "run": wanted.run_id,
            "to": wanted.to.value,
            "sources": json.dumps(wanted.sources),
            "ends": wanted.ends,
            "error": _text(wanted.error),
            "unless_failed": wanted.unless_failed,
        },
    )
    row = cursor.fetchone()
    if row is None:
        return False
    cursor.execute(_EVENT, (wanted.run_id, row[0], wanted.event, None, wanted.actor, dump_json(wanted.data)))
    if wanted.outputs is not None:
        cursor.execute(_OUTPUTS, (dump_json(wanted.outputs), wanted.run_id))
    return True


def note(session: Session, run_id: str, event: str, data: dict[str, Any], actor: str | None, step: str | None) -> None:
    """See `models.queries.runs.note`."""
    cursor = _cursor(session)
    cursor.execute(_NOTE, (run_id,))
    row = cursor.fetchone()
    assert row is not None, f"run {run_id} is not there"
    cursor.execute(_EVENT, (run_id, row[0], event, step, actor, dump_json(data)))


def create(session: Session, new: NewRun) -> None:
    """See `models.queries.runs.create`."""
    cursor = _cursor(session)
    cursor.execute(
        _NEW,
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
            None if new.timeout_at is None else new.timeout_at.timestamp(),
            new.parent_run_id,
            new.parent_step,
            new.parent_attempt,
            new.detached,
            new.depth,
            new.budget_run_id,
            new.status is RunStatus.RUNNING,
        ),
    )
    cursor.execute(
        _GIVEN,
        (
            new.id,
            dump_json(new.inputs),
            dump_json(new.variables),
            _text(new.overrides),
            dump_json(new.labels),
            new.created_by,
            _text(new.forked_from),
        ),
    )
    cursor.execute(_STEPS, (new.id, new.steps))
    cursor.executemany(
        _EVENT,
        [
            (new.id, seq, event.type, None, event.actor, dump_json(event.data))
            for seq, event in enumerate(new.events, 1)
        ],
    )
    if new.queued:
        cursor.execute(_QUEUED, (len(new.events), new.id))


def _cursor(session: Session) -> Any:
    return session.connection().connection.cursor()


def _text(value: Any) -> str | None:
    return None if value is None else dump_json(value)
