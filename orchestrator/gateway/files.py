"""The workspace files of agents, kept in the database. Source: spec "gateway" §5."""

import hashlib
import sqlite3
from typing import Any

from orchestrator.gateway.database import now_ms
from orchestrator.gateway.refusal import RefusalError, invalid

NAMES = ("AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "BOOTSTRAP.md", "MEMORY.md")


class Files:
    """What was written for each agent, by file name."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def content(self, agent: str, name: str) -> str | None:
        """The text of a file, None where there is none. Raises RefusalError for a name that isn't one."""
        row = self._row(agent, name)
        return None if row is None else str(row["content"])

    def list(self, agent: str, workspace: str) -> list[dict[str, Any]]:
        """An entry for each name, without the text. IDENTITY.md can be written, and is not listed."""
        found = [self.get(agent, workspace, name) for name in NAMES if name != "IDENTITY.md"]
        return [{key: value for key, value in entry.items() if key != "content"} for entry in found]

    def get(self, agent: str, workspace: str, name: str) -> dict[str, Any]:
        """The entry of one file. Raises RefusalError for a name that isn't one."""
        row = self._row(agent, name)
        path = f"{workspace}/{name}"
        if row is None:
            return {"name": name, "path": path, "missing": True, "expectedAbsent": name == "BOOTSTRAP.md"}
        content = row["content"]
        return {
            "name": name,
            "path": path,
            "missing": False,
            "size": len(content.encode()),
            "updatedAtMs": row["updated_at"],
            "hash": _hash(content),
            "content": content,
        }

    def put(self, agent: str, name: str, content: str, expected_hash: str | None) -> None:
        """Write a file. Raises RefusalError when it is not what `expected_hash` says, or no file of an agent."""
        now = self.content(agent, name)
        current = None if now is None else _hash(now)
        if expected_hash is not None and expected_hash.lower() != current:
            details = {"type": "agent_file_conflict", "name": name}
            raise RefusalError(
                "INVALID_REQUEST",
                f'agent file "{name}" changed since it was read',
                details=details if current is None else details | {"currentHash": current},
            )
        self._db.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", (agent, name, content, now_ms()))

    def _row(self, agent: str, name: str) -> sqlite3.Row | None:
        if name not in NAMES:
            raise invalid(f'unsupported file "{name}"')
        found: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM file WHERE agent = ? AND name = ?", (agent, name)
        ).fetchone()
        return found


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
