"""Clients of event streams, in one asyncio loop, and what they heard."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True, kw_only=True)
class Following:
    """Clients of the API at `port`, one a path. `late`: of each event that was heard, the seconds from its time."""

    port: int
    key: str
    late: list[float] = field(default_factory=list)
    connected: int = 0
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def begin(self, paths: Sequence[str]) -> None:
        """Connect them all."""
        self._tasks = [asyncio.create_task(self._client(path)) for path in paths]
        while self.connected < len(paths):
            await asyncio.sleep(0.1)

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _client(self, path: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n\r\n"
        writer.write(head.encode())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while line := await reader.readline():
                if line.startswith(b": events of"):
                    self.connected += 1
                elif line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    if event["seq"] > 1:  # the first was there before
                        self.late.append(time.time() - datetime.fromisoformat(event["at"]).timestamp())
