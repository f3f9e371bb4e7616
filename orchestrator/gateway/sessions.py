"""Sessions: the key that clients name, the transcript behind it, and what it has used.

Source: spec "gateway" §4 and §5.
"""

import json
import sqlite3
import uuid
from typing import Any

from orchestrator.gateway.database import now_ms

_LOOKED_AT = 1000


class Sessions:
    """Sessions by canonical key. A reset or deleted one goes on under a new id, with an empty transcript."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def open(self, key: str) -> str:
        """The id of the session of a key; a new session where there is none."""
        found = self._current(key)
        return found if found is not None else self.reset(key)

    def reset(self, key: str) -> str:
        """Begin anew; the new id."""
        session_id = str(uuid.uuid4())
        self._db.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", (key, session_id, now_ms()))
        return session_id

    def delete(self, key: str) -> bool:
        """Forget the session; False: there was none. The ledger keeps its runs."""
        return self._db.execute("DELETE FROM session WHERE key = ?", (key,)).rowcount > 0

    def history(self, key: str, limit: int) -> list[dict[str, Any]]:
        """The last `limit` messages, the oldest first."""
        messages = [message for row in reversed(self._runs(key, limit)) for message in _messages(row)]
        return messages[-limit:]

    def describe(self, key: str) -> dict[str, Any] | None:
        """The session's row, None for an unknown one. Tokens, and dollars of the runs whose cost is known."""
        session_id = self._current(key)
        if session_id is None:
            return None
        rows = self._runs(key, _LOOKED_AT)
        usages = [(json.loads(row["meta"] or "null") or {}).get("usage") or {} for row in rows]
        active = [row["run_id"] for row in rows if row["status"] in ("queued", "running")]
        return {
            "key": key,
            "sessionId": session_id,
            "inputTokens": sum(usage.get("input", 0) for usage in usages),
            "outputTokens": sum(usage.get("output", 0) for usage in usages),
            "estimatedCostUsd": sum(usage.get("cost", {}).get("total", 0.0) for usage in usages),
            "status": "running" if active else "idle",
            "hasActiveRun": bool(active),
            "activeRunIds": active,
            "abortedLastRun": bool(rows) and rows[0]["status"] == "cancelled",
            "lastRunId": rows[0]["run_id"] if rows else None,
        }

    def _current(self, key: str) -> str | None:
        row = self._db.execute("SELECT session_id FROM session WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row["session_id"])

    def _runs(self, key: str, limit: int) -> list[sqlite3.Row]:
        return self._db.execute(
            "SELECT run.* FROM run JOIN session ON session.key = run.session_key "
            "AND session.session_id = run.session_id WHERE run.session_key = ? "
            "ORDER BY run.created_at DESC, run.rowid DESC LIMIT ?",
            (key, limit),
        ).fetchall()


def canonical(key: str, agent: str = "main") -> str:
    """The key as the gateway knows it: lower case, and with its agent before it."""
    key = key.lower()
    return key if key.startswith("agent:") else f"agent:{agent}:{key or 'main'}"


def _messages(row: sqlite3.Row) -> list[dict[str, Any]]:
    asked = {
        "role": "user",
        "content": row["message"],
        "idempotencyKey": f"{row['run_id']}:user",
    }
    if row["text"] is None:
        return [asked]
    told = {
        "role": "assistant",
        "content": [{"type": "text", "text": row["text"]}],
        "stopReason": "stop",
        "__openclaw": {"runId": row["run_id"]},
    }
    meta = json.loads(row["meta"]) or {}
    if "usage" in meta:
        meta["usage"]["totalTokens"] = meta["usage"].pop("total")
    return [asked, told | meta]
