"""A connection to RabbitMQ with one channel, used by several threads in turn."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
from amqp.exceptions import AMQPError

from models.errors import UnavailableError

TIMEOUT = 5.0
HEARTBEAT = 10


class RabbitLink:
    """Made connected. After an error it is closed, and of no more use.

    heartbeat: seconds, 0 = none: whoever asks for them calls `drain` or `beat` as often.
    """

    def __init__(self, url: str, *, heartbeat: int = 0) -> None:
        found = urlsplit(url)
        secure = found.scheme == "amqps"
        self._lock = threading.RLock()
        self._unconfirmed: set[int] = set()
        self._refused = False
        self._sent = 0
        self._ticked = time.monotonic()
        self._connection: Any = amqp.Connection(
            host=f"{found.hostname or 'localhost'}:{found.port or (5671 if secure else 5672)}",
            userid=unquote(found.username or "guest"),
            password=unquote(found.password or "guest"),
            virtual_host=unquote(found.path[1:]) or "/",
            ssl=secure,
            connect_timeout=2.0,
            write_timeout=TIMEOUT,
            heartbeat=heartbeat,
        )
        with self.channel():
            pass  # so that a server that is away is told of at once

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """The channel, for one thread at a time. Raises UnavailableError for all that the library raises."""
        with self._lock:
            try:
                if not self._connection.connected:
                    self._open()
                yield self._channel
            except (AMQPError, OSError, AttributeError) as error:  # AttributeError: of a connection that is gone
                self._drop()
                why = str(error) or type(error).__name__
                raise UnavailableError(f"the event bus on RabbitMQ does not answer: {why}") from error

    def publish(self, messages: Iterable[tuple[str, str, Any]]) -> None:
        """Send (exchange, routing key, message) and wait until the server has confirmed all."""
        with self.channel() as channel:
            for exchange, key, message in messages:
                self._sent += 1
                self._unconfirmed.add(self._sent)
                channel.basic_publish(message, exchange=exchange, routing_key=key)
            end = time.monotonic() + 1.6 * TIMEOUT
            while self._unconfirmed and not self._refused:
                self._connection.drain_events(timeout=max(0.01, end - time.monotonic()))
            if self._refused:
                raise AMQPError("the server refused a message")

    def drain(self, seconds: float) -> bool:
        """Take what comes within some seconds; False when nothing came."""
        with self.channel():
            try:
                self._connection.drain_events(timeout=max(0.001, seconds))
            except TimeoutError:
                return False
            finally:
                self._tick()
            return True

    def beat(self) -> None:
        """Say that we are alive, from beside a thread that works on a message."""
        with self.channel():
            self._connection.send_heartbeat()

    def close(self) -> None:
        """End the connection; what was not acknowledged goes back to its queue."""
        with self._lock:
            try:
                self._connection.close()
            except (AMQPError, OSError, AttributeError):
                self._drop()

    def _open(self) -> None:
        self._connection.connect()
        self._connection.transport.sock.settimeout(TIMEOUT)  # the library's own limit is tried again without end
        self._channel = self._connection.channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._confirmed)
        self._channel.events["basic_nack"].add(self._nacked)

    def _tick(self) -> None:
        if time.monotonic() - self._ticked >= HEARTBEAT / 2:
            self._ticked = time.monotonic()
            self._connection.heartbeat_tick()

    def _confirmed(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._unconfirmed = {each for each in self._unconfirmed if each > tag}
        else:
            self._unconfirmed.discard(tag)

    def _nacked(self, _tag: int, _multiple: bool) -> None:
        self._refused = True

    def _drop(self) -> None:
        try:
            self._connection.collect()
        except (OSError, AttributeError):
            pass  # nothing is left of it


def beating(link: RabbitLink, ended: threading.Event, failed: Callable[[], None]) -> threading.Thread:
    """A thread that says for a link that we are alive, until `ended` is set."""

    def run() -> None:
        while not ended.wait(HEARTBEAT / 3):
            try:
                link.beat()
            except UnavailableError:
                failed()
                return

    thread = threading.Thread(target=run, name="bus-heartbeat", daemon=True)
    thread.start()
    return thread
