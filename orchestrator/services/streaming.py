"""What steps stream while they work, on its way to those who follow their runs.

One thread a process writes all streams' pieces, every 100 ms, in one transaction (docs/decisions/0029). Nobody who
streams ever waits for it: what does not fit its buffer, or can't be written for a second, is dropped.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog

from models.database import Database
from models.queries import chunks
from orchestrator.bridge import Piece
from orchestrator.core import pieces

FLUSH = 0.1  # seconds that pieces are gathered
PATIENCE = 1.0  # seconds that pieces wait for a database that is away
BUFFER = 2_000_000  # characters that a process holds
OVERHEAD = 32  # characters that a piece takes beside its own
CHUNK = 8_000  # characters of one chunk

_log = structlog.get_logger(__name__)


class Stream:
    """What one attempt streams; called with its pieces, from any thread."""

    def __init__(self, writer: "Chunks", run_id: str, path: str, attempt: int) -> None:
        self.run_id = run_id
        self.path = path
        self.attempt = attempt
        self.begun = False
        self.ended = False
        self.committed = threading.Event()
        self._writer = writer
        # the writer's own
        self._index = 0
        self._rest = ""
        self._tokens: int | None = None

    def __call__(self, piece: Piece) -> None:
        """Take a piece; never blocks. What comes after the end is passed over."""
        self._writer.take(self, piece)

    def end(self) -> None:
        """Return when what was streamed is committed, or given up, after 1 s at the latest."""
        self._writer.finish(self)
        if self.begun:
            self.committed.wait(PATIENCE)

    def rows(self, gathered: "_Gathered", secrets: Collection[str]) -> Iterator[dict[str, Any]]:
        """The rows of what was gathered; `index` has a gap where pieces were dropped."""
        text, self._rest = pieces.ready(self._rest + "".join(gathered.texts), secrets, ended=gathered.ended)
        self._index += gathered.dropped
        tokens, self._tokens = self._tokens, gathered.tokens or self._tokens
        if text or self._tokens != tokens:
            for part in pieces.cut(text, CHUNK):
                yield self._row("stream.chunk", {"index": self._index, "text": part, "tokens": self._tokens})
                self._index += 1
        if gathered.ended:
            yield self._row("stream.done", {"chunks": self._index, "tokens": self._tokens})

    def _row(self, type_: str, data: dict[str, Any]) -> dict[str, Any]:
        told = {"attempt": self.attempt, **data}
        return {"run_id": self.run_id, "type": type_, "step": self.path, "data": told}


@dataclass(slots=True)
class _Gathered:
    """What a stream has got since the last write."""

    texts: list[str] = field(default_factory=list)
    tokens: int | None = None
    dropped: bool = False
    ended: bool = False


class Chunks:
    """The writer of a process's streams. `secrets` gives what must not be shown."""

    def __init__(self, db: Database, secrets: Callable[[], Collection[str]] = tuple) -> None:
        self._db = db
        self._secrets = secrets
        self._changed = threading.Condition()
        self._gathered: dict[Stream, _Gathered] = {}
        self._size = 0
        self._urgent = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._failing = False

    def stream(self, run_id: str, path: str, attempt: int) -> Stream:
        """The stream of an attempt, which costs nothing until its first piece."""
        return Stream(self, run_id, path, attempt)

    def take(self, stream: Stream, piece: Piece) -> None:
        """Gather a piece; one that there is no room for is dropped."""
        with self._changed:
            if stream.ended:
                return
            stream.begun = True
            gathered = self._of(stream)
            if piece.tokens is not None:
                gathered.tokens = piece.tokens
            size = len(piece.text) + OVERHEAD
            if self._size + size > BUFFER:
                gathered.dropped = True
            elif piece.text:
                gathered.texts.append(piece.text)
                self._size += size

    def finish(self, stream: Stream) -> None:
        """A stream has ended; what it gathered is written now."""
        with self._changed:
            if stream.ended:
                return
            stream.ended = True
            if not stream.begun:
                return
            self._of(stream).ended = self._urgent = True
            self._changed.notify_all()

    def close(self) -> None:
        """Write what there is; the process ends."""
        with self._changed:
            self._closed = self._urgent = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(PATIENCE)

    def _of(self, stream: Stream) -> _Gathered:
        """What a stream has gathered; the first of all wakes the writer, which then lets others gather."""
        found = self._gathered.get(stream)
        if found is None:
            found = self._gathered[stream] = _Gathered()
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="chunks", daemon=True)
                self._thread.start()
            if len(self._gathered) == 1:
                self._changed.notify_all()
        return found

    def _run(self) -> None:
        while (gathered := self._next()) is not None:
            try:
                self._write(gathered)
            except Exception:  # one thread writes for all streams: none may end it
                _log.exception("chunks dropped")
            for stream, each in gathered.items():
                if each.ended:
                    stream.committed.set()

    def _next(self) -> dict[Stream, _Gathered] | None:
        """What was gathered; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._gathered or self._closed)
            self._changed.wait_for(lambda: self._urgent, FLUSH)
            if self._closed and not self._gathered:
                return None
            taken, self._gathered = self._gathered, {}
            self._size, self._urgent = 0, self._closed
            return taken

    def _write(self, gathered: dict[Stream, _Gathered]) -> None:
        secrets = self._secrets()
        rows = [row for stream, each in gathered.items() for row in stream.rows(each, secrets)]
        if not rows:
            return
        until = time.monotonic() + PATIENCE
        while (error := self._tried(rows)) is not None and time.monotonic() < until and not self._closed:
            time.sleep(FLUSH)
        if error is not None and not self._failing:
            _log.warning("chunks dropped", count=len(rows), reason=type(error).__name__)
        self._failing = error is not None

    def _tried(self, rows: list[dict[str, Any]]) -> Exception | None:
        try:
            with self._db.transaction() as session:
                chunks.add(session, rows)
        except Exception as error:
            return error
        return None
