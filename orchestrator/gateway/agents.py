"""The agents of the gateway: those of the demo, those that were created, and by default every other name too.

Source: spec "gateway" §5.
"""

import re
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from orchestrator.gateway import demo
from orchestrator.gateway.refusal import invalid

MODEL = "local/scripted-1"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_BUILT_IN = ("main", *demo.names())


class Agents:
    """Who there is. `known_only`: no other names; `create_delay`: seconds until a created one can be called."""

    def __init__(self, database: sqlite3.Connection, *, known_only: bool, create_delay: float) -> None:
        self._db = database
        self._known_only = known_only
        self._create_delay = create_delay
        self._ready_at: dict[str, float] = {}

    def knows(self, agent: str) -> bool:
        """Whether it can be called now."""
        if not _NAME.fullmatch(agent) or not self._is_ready(agent):
            return False
        return not self._known_only or agent in _BUILT_IN or self._row(agent) is not None

    def workspace(self, agent: str) -> str:
        """Its workspace. Raises RefusalError (INVALID_REQUEST) for an agent that is not listed."""
        if agent in _BUILT_IN:
            return _workspace(agent)
        row = self._row(agent)
        if row is None or not self._is_ready(agent):
            raise _not_found(agent)
        return str(row["workspace"])

    def list(self) -> list[dict[str, Any]]:
        """Those with an entry of their own, once they can be called."""
        known = [
            {"id": agent, "workspace": _workspace(agent), "model": {"primary": MODEL}} for agent in _BUILT_IN
        ]
        rows = self._db.execute("SELECT * FROM agent ORDER BY rowid").fetchall()
        return known + [_entry(row) for row in rows if self._is_ready(row["id"])]

    def create(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A new agent, named by the slug of its name. Raises RefusalError."""
        agent = re.sub(r"[^a-z0-9_-]+", "-", params["name"].lower()).strip("-")[:64]
        if not _NAME.fullmatch(agent):
            raise invalid(f'invalid agents.create params: no id can be made of "{params["name"]}"')
        if agent in _BUILT_IN or self._row(agent) is not None:
            raise invalid(f'agent "{agent}" already exists')
        workspace = params.get("workspace", _workspace(agent))
        self._db.execute(
            "INSERT INTO agent VALUES (?, ?, ?, ?)", (agent, params["name"], workspace, params.get("model"))
        )
        self._ready_at[agent] = time.monotonic() + self._create_delay
        made = {"ok": True, "agentId": agent, "name": params["name"], "workspace": workspace}
        return made | ({"model": params["model"]} if "model" in params else {})

    def update(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Change a created agent. Raises RefusalError."""
        agent = self._created(params["agentId"])
        for column in ("name", "workspace", "model"):
            if column in params:
                self._db.execute(f"UPDATE agent SET {column} = ? WHERE id = ?", (params[column], agent))  # noqa: S608
        return {"ok": True, "agentId": agent}

    def delete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Remove a created agent, its files too unless they are to stay. Raises RefusalError."""
        agent = self._created(params["agentId"])
        self._db.execute("DELETE FROM agent WHERE id = ?", (agent,))
        if params.get("deleteFiles", True):
            self._db.execute("DELETE FROM file WHERE agent = ?", (agent,))
        self._ready_at.pop(agent, None)
        return {"ok": True, "agentId": agent, "removedBindings": 0}

    def _created(self, given: str) -> str:
        agent = given.lower()
        if agent in _BUILT_IN:
            raise invalid(f'agent "{agent}" is built in and can be neither changed nor deleted')
        if self._row(agent) is None:
            raise _not_found(agent)
        return agent

    def _row(self, agent: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._db.execute("SELECT * FROM agent WHERE id = ?", (agent,)).fetchone()
        return found

    def _is_ready(self, agent: str) -> bool:
        return self._ready_at.get(agent, 0.0) <= time.monotonic()


def _workspace(agent: str) -> str:
    return f"/workspaces/{agent}"


def _entry(row: sqlite3.Row) -> dict[str, Any]:
    model = {"primary": row["model"] or MODEL}
    return {"id": row["id"], "name": row["name"], "workspace": row["workspace"], "model": model}


def _not_found(agent: str) -> Exception:
    return invalid(f'agent "{agent}" not found')
