"""The gateway's lasting memory: one row a run, which survives a restart. The transcript is read from it too.

Source: spec "gateway" §4 (tasks.list, chat.history are the durable sources).
"""

import json
import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEPT = 10_000
_EXITED = "Task execution process exited before restart."
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
  run_id TEXT PRIMARY KEY, task_id TEXT NOT NULL, session_key TEXT NOT NULL, agent TEXT NOT NULL,
  message TEXT NOT NULL, status TEXT NOT NULL, created_at INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER,
  text TEXT, meta TEXT, summary TEXT
);
CREATE INDEX IF NOT EXISTS run_session ON run (session_key, created_at);
CREATE INDEX IF NOT EXISTS run_open ON run (status) WHERE status IN ('queued', 'running');
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A run that the last process did not end."""

    session_key: str
    agent: str
    message: str


class Ledger:
    """Rows of runs in SQLite. Times in milliseconds since 1970."""

    def __init__(self, path: Path | None = None) -> None:
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        # It must outlive its process, not the machine.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)

    def recover(self) -> list[Interrupted]:
        """Mark what the last process left open, forget the oldest; what was open is returned."""
        rows = self._db.execute("SELECT * FROM run WHERE status IN ('queued', 'running')").fetchall()
        self._db.execute(
            "UPDATE run SET status = 'cancelled', ended_at = ?, summary = ? "
            "WHERE status IN ('queued', 'running')",
            (now_ms(), _EXITED),
        )
        self._db.execute(
            "DELETE FROM run WHERE rowid <= (SELECT max(rowid) FROM run) - ?",
            (_KEPT,),
        )
        return [
            Interrupted(session_key=row["session_key"], agent=row["agent"], message=row["message"])
            for row in rows
        ]

    def add(self, run_id: str, session_key: str, agent: str, message: str) -> None:
        """A run was accepted. An older one of the same id, from before a restart, gives way."""
        self._db.execute(
            "INSERT OR REPLACE INTO run (run_id, task_id, session_key, agent, message, status, created_at) "
            "VALUES (?, ?, ?, ?, ?, 'queued', ?)",
            (run_id, str(uuid.uuid4()), session_key, agent, message, now_ms()),
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

    def tasks(self, session_key: str | None, status: str | None, limit: int) -> list[dict[str, Any]]:
        """Task summaries, the newest first. The filter on the session is case-sensitive."""
        rows = self._db.execute(
            "SELECT * FROM run WHERE (?1 IS NULL OR session_key = ?1) AND (?2 IS NULL OR status = ?2) "
            "ORDER BY created_at DESC, rowid DESC LIMIT ?3",
            (session_key, status, limit),
        )
        return [_summary(row) for row in rows]

    def task(self, run_id: str) -> dict[str, Any]:
        """One task summary. Raises KeyError."""
        row = self._db.execute("SELECT * FROM run WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise KeyError(run_id)
        return _summary(row)

    def history(self, session_key: str, limit: int) -> list[dict[str, Any]]:
        """The last `limit` messages of a session, the oldest first."""
        rows = self._db.execute(
            "SELECT * FROM run WHERE session_key = ? ORDER BY created_at DESC, rowid DESC LIMIT ?",
            (session_key, limit),
        ).fetchall()
        messages = [message for row in reversed(rows) for message in _messages(row)]
        return messages[-limit:]

    def close(self) -> None:
        self._db.close()


def now_ms() -> int:
    return int(time.time() * 1000)


def _summary(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "taskId": row["task_id"],
        "runId": row["run_id"],
        "sessionKey": row["session_key"],
        "agentId": row["agent"],
        "status": row["status"],
        "createdAt": row["created_at"],
        "startedAt": row["started_at"],
        "endedAt": row["ended_at"],
        "terminalSummary": row["summary"],
    }


def _messages(row: sqlite3.Row) -> list[dict[str, Any]]:
    asked = {
        "role": "user",
        "content": [{"type": "text", "text": row["message"]}],
        "idempotencyKey": f"{row['run_id']}:user",
    }
    if row["text"] is None:
        return [asked]
    return [
        asked,
        {
            "role": "assistant",
            "content": [{"type": "text", "text": row["text"]}],
            "stopReason": "stop",
            "__openclaw": {"runId": row["run_id"]},
        }
        | (json.loads(row["meta"]) or {}),
    ]
