"""The ledger of runs: one row a run, which survives a restart. Source: spec "gateway" §4 (tasks.list)."""

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.database import now_ms

_KEPT = 10_000
_EXITED = "Task execution process exited before restart."
_OPEN = ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A turn that the last process began and did not end."""

    session_key: str
    agent: str
    message: str


class Ledger:
    """Rows of runs. Times in milliseconds since 1970."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def recover(self) -> list[Interrupted]:
        """Mark what the last process left open, forget the oldest; the turns that ran are returned."""
        rows = self._db.execute("SELECT * FROM run WHERE status = 'running' ORDER BY rowid").fetchall()
        self._db.execute(
            "UPDATE run SET status = 'cancelled', ended_at = ?, summary = ? WHERE status IN ('queued', 'running')",
            (now_ms(), _EXITED),
        )
        self._db.execute("DELETE FROM run WHERE rowid <= (SELECT max(rowid) FROM run) - ?", (_KEPT,))
        return [
            Interrupted(session_key=row["session_key"], agent=row["agent"], message=row["message"])
            for row in rows
        ]

    def add(self, run_id: str, session_key: str, session_id: str, agent: str, message: str) -> None:
        """A run was accepted. An older one of the same id, from before a restart, gives way."""
        self._db.execute(
            "INSERT OR REPLACE INTO run (run_id, task_id, session_key, session_id, agent, message, status, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, 'queued', ?)",
            (run_id, str(uuid.uuid4()), session_key, session_id, agent, message, now_ms()),
        )

    def start(self, run_id: str) -> None:
        self._db.execute(
            "UPDATE run SET status = 'running', started_at = ? WHERE run_id = ?", (now_ms(), run_id)
        )

    def end(self, run_id: str, status: str, *, text: str | None, meta: Any, summary: str | None) -> None:
        self._db.execute(
            "UPDATE run SET status = ?, ended_at = ?, text = ?, meta = ?, summary = ? WHERE run_id = ?",
            (status, now_ms(), text, json.dumps(meta), summary, run_id),
        )

    def tasks(self, session_key: str | None, status: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """Task summaries, the newest first. The filter on the session is case-sensitive; no status: every one."""
        wanted = [*status, "queued"] if "running" in status else [*status]
        rows = self._db.execute(
            "SELECT * FROM run WHERE (?1 IS NULL OR session_key = ?1) "
            "AND (?2 = '[]' OR status IN (SELECT value FROM json_each(?2))) "
            "ORDER BY created_at DESC, rowid DESC LIMIT ?3",
            (session_key, json.dumps(wanted), limit),
        )
        return [_summary(row) for row in rows]

    def of_run(self, run_id: str) -> dict[str, Any]:
        """The task summary of a run. Raises KeyError."""
        return self._one("SELECT * FROM run WHERE run_id = ?", run_id)

    def of_task(self, task_id: str) -> dict[str, Any]:
        """A task summary by its own id. Raises KeyError."""
        return self._one("SELECT * FROM run WHERE task_id = ?", task_id)

    def _one(self, query: str, key: str) -> dict[str, Any]:
        row = self._db.execute(query, (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return _summary(row)


def _summary(row: sqlite3.Row) -> dict[str, Any]:
    found = {
        "id": row["task_id"],
        "taskId": row["task_id"],
        "runtime": "cli",
        "runId": row["run_id"],
        "sessionKey": row["session_key"],
        "agentId": row["agent"],
        # One that waits for its turn is told apart by `execution` alone.
        "status": "running" if row["status"] == "queued" else row["status"],
        "execution": {"state": row["status"] if row["status"] in _OPEN else "finished"},
        "createdAt": row["created_at"],
        "startedAt": row["started_at"],
        "endedAt": row["ended_at"],
        "updatedAt": row["ended_at"] or row["started_at"] or row["created_at"],
        "terminalSummary": row["summary"],
    }
    if row["status"] not in (*_OPEN, "completed"):
        found["error"] = row["summary"]
    return {name: value for name, value in found.items() if value is not None}
