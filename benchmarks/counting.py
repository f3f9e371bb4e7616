"""Counts what a process asks of PostgreSQL and tells the broker, in a file that another process reads meanwhile.

A round trip is a statement, a BEGIN or a COMMIT. A commit is one that follows a statement that may write; those that
only read are not counted. A message is one that is published, whatever it carries.
"""

import mmap
import os
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kombu.messaging import Producer
from psycopg2 import extensions
from sqlalchemy import event
from sqlalchemy.engine import Engine

_LAYOUT = struct.Struct("=QQQ")
_PREPARE = re.compile(r"\s*PREPARE\s+(\w+)")
_EXECUTE = re.compile(r"\s*EXECUTE\s+(\w+)")
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|NOTIFY)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Counts:
    trips: float = 0
    commits: float = 0
    messages: float = 0

    def __add__(self, other: "Counts") -> "Counts":
        return self.plus(other, 1)

    def plus(self, other: "Counts", times: float) -> "Counts":
        """This, and so many times the other."""
        return Counts(
            self.trips + times * other.trips,
            self.commits + times * other.commits,
            self.messages + times * other.messages,
        )


def total(directory: Path) -> Counts:
    """What all processes that count there have counted so far."""
    found = Counts()
    for path in directory.iterdir():
        content = path.read_bytes()
        found += Counts(*_LAYOUT.unpack(content)) if len(content) == _LAYOUT.size else Counts()
    return found


def begin(directory: str) -> None:
    """Count in this process and in those that it forks, from now on."""
    counter = _Counter(Path(directory))
    os.register_at_fork(after_in_child=counter.open)

    def connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        if "dbname" in parameters:  # PostgreSQL
            parameters["connection_factory"] = _connections(counter)

    event.listen(Engine, "do_connect", connect)
    _count_messages(counter)


class _Counter:
    """One process's file. Threads take turns."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.open()

    def open(self) -> None:
        path = self._directory / str(os.getpid())
        path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._counts = [0, 0, 0]
        self._lock = threading.Lock()

    def add(self, trips: int = 0, commits: int = 0, messages: int = 0) -> None:
        with self._lock:
            self._counts = [
                count + more for count, more in zip(self._counts, (trips, commits, messages), strict=True)
            ]
            _LAYOUT.pack_into(self._memory, 0, *self._counts)


def _connections(counter: _Counter) -> type[extensions.connection]:
    """A connection that counts; its cursors too."""

    class Counted(extensions.connection):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.cursor_factory = CountedCursor
            self.writes = False
            self.writing: set[str] = set()  # names of prepared statements

        def commit(self) -> None:
            self._end(int(self.writes))
            super().commit()

        def rollback(self) -> None:
            self._end(0)
            super().rollback()

        def _end(self, commits: int) -> None:
            if self.status != extensions.STATUS_READY:
                counter.add(trips=1, commits=commits)
            self.writes = False

    class CountedCursor(extensions.cursor):  # type: ignore[misc]
        connection: Counted

        def execute(self, query: Any, parameters: Any = None) -> Any:
            own = self.connection
            text = query.decode() if isinstance(query, bytes) else str(query)
            writes = _writes(text, own.writing)
            if own.autocommit:
                counter.add(trips=1, commits=int(writes))
            else:
                counter.add(trips=1 + (own.status == extensions.STATUS_READY))  # BEGIN travels by itself
                own.writes = own.writes or writes
            return super().execute(query, parameters)

        def executemany(self, query: Any, many: Any) -> Any:
            rows = list(many)
            for row in rows:
                self.execute(query, row)

    return Counted


def _writes(text: str, prepared: set[str]) -> bool:
    """Whether a statement may write; remembers it of those that are prepared."""
    if (executed := _EXECUTE.match(text)) is not None:
        return executed[1] in prepared
    writes = _WRITES.search(text) is not None
    if (named := _PREPARE.match(text)) is None:
        return writes
    if writes:
        prepared.add(named[1])
    return False


def _count_messages(counter: _Counter) -> None:
    original = Producer.publish

    def publish(self: Producer, *args: Any, **options: Any) -> Any:
        counter.add(messages=1)
        return original(self, *args, **options)  # type: ignore[no-untyped-call]

    Producer.publish = publish  # type: ignore[method-assign]
