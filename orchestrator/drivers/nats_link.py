"""A connection to NATS with JetStream, as the bus uses it: one attempt, no reconnecting behind our back."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import nats
from nats.aio.client import Client
from nats.errors import ConnectionClosedError, Error
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from models.errors import UnavailableError
from orchestrator import bus
from orchestrator.bus import BusParts
from orchestrator.drivers.event_loop import EventLoop

TIMEOUT = 5.0
_DEDUP_SECONDS = 120.0
_PREFIX = "orchestrator"
T = TypeVar("T")


class NatsLink:
    """A thread with a connection that is made when it is first used, and again after it was lost.

    The client's own reconnecting would send what it had not sent, but not what was lost on the way: out of order.
    The path of a URL is a prefix to all names, for several deployments on one server.
    """

    def __init__(self, parts: BusParts) -> None:
        self._parts = parts
        found = urlsplit(parts.url)
        prefix = found.path.strip("/")
        self._server = urlunsplit((found.scheme, found.netloc, "", found.query, ""))
        self.events = f"{prefix}-{_PREFIX}-events" if prefix else f"{_PREFIX}-events"
        self.dead = f"{prefix}-{_PREFIX}-dead" if prefix else f"{_PREFIX}-dead"
        root = f"{prefix}.{_PREFIX}" if prefix else _PREFIX
        self.subjects = f"{root}.events"
        self.dead_subjects = f"{root}.dead"
        self._loop = EventLoop("nats")
        self._client: Client | None = None
        self._lost = asyncio.Event()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 2 * TIMEOUT) -> T:
        """What a coroutine returns. Raises UnavailableError for all that the client raises."""
        try:
            return self._loop.run(self._while_connected(coroutine), timeout)
        except (Error, TimeoutError, OSError, CancelledError) as error:
            why = str(error) or type(error).__name__
            raise UnavailableError(f"the event bus on NATS does not answer: {why}") from error

    async def client(self) -> Client:
        """The connection. Raises what the client raises."""
        if self._client is None or not self._client.is_connected:
            self._client = await nats.connect(
                self._server,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # of the first connection too, for which it would wait minutes
                reconnect_time_wait=0.1,
                connect_timeout=2,
                ping_interval=5,
                error_cb=_passed_on,
                disconnected_cb=self._lose,
                closed_cb=self._lose,
                name="orchestrator",
            )
        return self._client

    async def stream(self) -> JetStreamContext:
        """JetStream, with both streams there."""
        known = self._client
        client = await self.client()
        context = client.jetstream(timeout=TIMEOUT)
        if client is not known:
            size = self._parts.kept_bytes
            await _there(
                context, self.events, f"{self.subjects}.>", max_bytes=size, max_msgs=self._parts.kept
            )
            await _there(
                context,
                self.dead,
                f"{self.dead_subjects}.>",
                max_bytes=size,
                max_msgs_per_subject=bus.DEAD_KEPT,
            )
        return context

    async def _while_connected(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What waits for an answer is not told by the client that its connection is gone."""
        if self._lost.is_set():
            self._client = None
            self._lost.clear()
        work, loss = asyncio.create_task(coroutine), asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait((work, loss), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ConnectionClosedError
            return work.result()
        finally:
            for task in (work, loss):
                task.add_done_callback(_looked_at)
                task.cancel()

    async def _lose(self) -> None:
        self._lost.set()

    def close(self) -> None:
        """End the connection and its thread."""
        try:
            if self._client is not None and self._client.is_connected:
                self._loop.run(self._client.close(), TIMEOUT)
        except (Error, TimeoutError, OSError):
            pass  # it is gone then
        self._loop.close()


async def _there(context: JetStreamContext, name: str, subject: str, **limits: int) -> None:
    try:
        await context.stream_info(name)
    except NotFoundError:
        await context.add_stream(
            StreamConfig(
                name=name,
                subjects=[subject],
                storage=StorageType.FILE,
                discard=DiscardPolicy.OLD,
                duplicate_window=_DEDUP_SECONDS,
                **limits,  # type: ignore[arg-type]
            )
        )


async def _passed_on(_error: Exception) -> None:
    """Every call raises its own error; what the client says beside that is the same."""


def _looked_at(task: asyncio.Task[Any]) -> None:
    """What an abandoned task raises is of no interest; asyncio would complain that nobody looked."""
    if not task.cancelled():
        task.exception()
