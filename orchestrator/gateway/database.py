"""The gateway's lasting memory: one SQLite file, which survives a restart of the gateway.

Source: spec "gateway" §4 (tasks.list and chat.history are the durable sources).
"""

import sqlite3
import time
from pathlib import Path

_VERSION = 2
_TABLES = ("run", "session", "agent", "file", "device", "pairing")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
  run_id TEXT PRIMARY KEY, task_id TEXT NOT NULL, session_key TEXT NOT NULL, session_id TEXT NOT NULL,
  agent TEXT NOT NULL, message TEXT NOT NULL, status TEXT NOT NULL, created_at INTEGER NOT NULL,
  started_at INTEGER, ended_at INTEGER, text TEXT, meta TEXT, summary TEXT
);
CREATE INDEX IF NOT EXISTS run_session ON run (session_key, created_at);
CREATE INDEX IF NOT EXISTS run_task ON run (task_id);
CREATE INDEX IF NOT EXISTS run_open ON run (status) WHERE status IN ('queued', 'running');
CREATE TABLE IF NOT EXISTS session (key TEXT PRIMARY KEY, session_id TEXT NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS agent (id TEXT PRIMARY KEY, name TEXT NOT NULL, workspace TEXT NOT NULL, model TEXT);
CREATE TABLE IF NOT EXISTS file (
  agent TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, updated_at INTEGER NOT NULL,
  PRIMARY KEY (agent, name)
);
CREATE TABLE IF NOT EXISTS device (
  id TEXT PRIMARY KEY, public_key TEXT NOT NULL, scopes TEXT NOT NULL, token TEXT NOT NULL,
  paired_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS pairing (
  request_id TEXT PRIMARY KEY, device_id TEXT NOT NULL UNIQUE, public_key TEXT NOT NULL, scopes TEXT NOT NULL,
  asked_at INTEGER NOT NULL
);
"""


def open_database(path: Path | None = None) -> sqlite3.Connection:
    """The database in a file, or in memory alone. A file of an older gateway is emptied."""
    database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    database.row_factory = sqlite3.Row
    # It must outlive its process, not the machine.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")
    if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        for table in _TABLES:
            database.execute(f"DROP TABLE IF EXISTS {table}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    database.executescript(_SCHEMA)
    return database


def now_ms() -> int:
    """Milliseconds since 1970, as all times here."""
    return int(time.time() * 1000)
