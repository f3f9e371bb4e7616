"""The event bus on Redis Streams, or Valkey's: one stream, a consumer group for each subscriber.

The stream is `orchestrator:events`, with the fields `id type workspace run body`; dead letters of a subscriber are in
`orchestrator:events:dead:<name>`. The process at work holds `orchestrator:events:lock:<name>`.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
import structlog

from models.errors import UnavailableError
from orchestrator import bus
from orchestrator.bus import BusParts, DeadLetter, Delivery, Message
from orchestrator.drivers import redis_client
from orchestrator.drivers.redis_lock import RedisLock

_log = structlog.get_logger(__name__)
STREAM = "orchestrator:events"
TIMEOUT = 5.0
WINDOW = 100  # messages read at once
_CONSUMER = "one"  # of every process of a name: whoever has the lock goes on with what another one left
_MEASURED_EVERY = 10.0


class RedisBus:
    """`bus.EventBus`. Redis is the broker too: the stream is trimmed by number, and by size."""

    def __init__(self, parts: BusParts) -> None:
        self._parts = parts
        self._redis: Any = redis_client.connect(parts.url, timeout=TIMEOUT, decode_responses=True)
        self._measured = 0.0
        self._made: set[str] = set()  # names that were there: gone, they are to have all that came since

    def publish(self, messages: Sequence[Message]) -> None:
        with _reached(), self._redis.pipeline(transaction=True) as pipeline:
            for each in messages:
                pipeline.xadd(STREAM, bus.fields(each), maxlen=self._parts.kept, approximate=True)
            pipeline.execute()
            self._bound()

    def subscribe(self, name: str) -> "RedisSubscription":
        bus.check_name(name)
        with _reached():
            _make(self._redis, name, "0" if name in self._made else "$")
        self._made.add(name)
        return RedisSubscription(self._parts, name)

    def bury(self, name: str, letter: DeadLetter) -> None:
        with _reached():
            kept: dict[str, Any] = {"letter": bus.letter_text(letter)}
            self._redis.xadd(_dead(name), kept, maxlen=bus.DEAD_KEPT, approximate=True)
            self._cut(_dead(name))

    def dead_letters(self, name: str, limit: int = 100) -> Sequence[DeadLetter]:
        with _reached():
            return [bus.letter(found["letter"]) for _, found in self._redis.xrange(_dead(name), count=limit)]

    def requeue(self, name: str, ids: Collection[str] | None = None) -> int:
        count = 0
        with _reached():
            for key, found in self._redis.xrange(_dead(name)):
                message = bus.letter(found["letter"]).message
                if ids is None or message.id in ids:
                    with self._redis.pipeline(transaction=True) as pipeline:
                        pipeline.xadd(STREAM, bus.fields(message) | {"only": name})
                        pipeline.xdel(_dead(name), key)
                        pipeline.execute()
                    count += 1
        return count

    def remove(self, name: str) -> None:
        with _reached():
            self._made.discard(name)
            if self._redis.exists(STREAM):
                self._redis.xgroup_destroy(STREAM, name)
            self._redis.delete(_dead(name))

    def ping(self) -> str:
        with _reached():
            server = self._redis.info("server")
        version = server.get("valkey_version") or server["redis_version"]
        return f"{server.get('server_name', 'redis')} {version}"

    def close(self) -> None:
        self._redis.close()

    def _bound(self) -> None:
        """Messages differ in size by a factor of a thousand: by their number alone memory would not be bounded."""
        if time.monotonic() - self._measured < _MEASURED_EVERY:
            return
        self._measured = time.monotonic()
        self._cut(STREAM)

    def _cut(self, stream: str) -> None:
        used = self._redis.memory_usage(stream) or 0
        if used > self._parts.kept_bytes:
            left = int(self._redis.xlen(stream) * 0.9 * self._parts.kept_bytes / used)
            self._redis.xtrim(stream, maxlen=left, approximate=True)
            _log.warning("a stream was cut to bound its memory", stream=stream, bytes=used, messages=left)


class RedisSubscription:
    """`bus.Subscription`. What a process before left unacknowledged is read one by one, so that each read counts."""

    def __init__(self, parts: BusParts, name: str) -> None:
        self._name = name
        self._redis: Any = redis_client.connect(parts.url, timeout=TIMEOUT, decode_responses=True)
        self._lock = RedisLock(parts.url, f"{STREAM}:lock:{name}", parts.lease)
        self._read: list[Delivery] = []
        self._left = True  # whether there may be messages that were taken and not acknowledged

    def take(self, wait: float) -> Delivery | None:
        end = time.monotonic() + wait
        while True:
            with _reached():
                found = self._next(end) if self._holds(end) else None
            if found is not None or time.monotonic() >= end:
                return found

    def ack(self, delivery: Delivery) -> None:
        with _reached():
            self._redis.xack(STREAM, self._name, delivery.token)

    def close(self) -> None:
        self._lock.close()
        self._redis.close()

    def _holds(self, end: float) -> bool:
        before = self._lock.held
        if not self._lock.take(end):
            return False
        if not before:
            self._read, self._left = [], True
            self._tell_gap()
        return True

    def _next(self, end: float) -> Delivery | None:
        if self._left:
            if (found := self._again()) is not None:
                return found
            self._left = False
        if not self._read:
            self._read = [delivery for delivery in self._new(end) if delivery is not None][::-1]
        return self._read.pop() if self._read else None

    def _again(self) -> Delivery | None:
        """The oldest message that was taken and not acknowledged; one that was trimmed meanwhile is passed over."""
        while entries := self._entries("0", 1, None):
            key, found = entries[0]
            pending = self._redis.xpending_range(STREAM, self._name, key, key, 1)
            count = pending[0]["times_delivered"] if pending else 2
            if found and (delivery := self._delivery(key, found, count)) is not None:
                return delivery
            if not found:
                self._redis.xack(STREAM, self._name, key)
                _log.warning("trimmed before it was acknowledged", subscriber=self._name, entry=key)
        return None

    def _new(self, end: float) -> Iterator[Delivery | None]:
        block = max(1, min(1000, int((end - time.monotonic()) * 1000)))
        for key, found in self._entries(">", WINDOW, block):
            yield self._delivery(key, found, 1)

    def _delivery(self, key: str, found: dict[str, str], count: int) -> Delivery | None:
        try:
            message = bus.message(found)
        except bus.FOREIGN:
            _log.warning("passed over what is no event", subscriber=self._name, entry=key)
            self._redis.xack(STREAM, self._name, key)
            return None
        if message.only not in (None, self._name):
            self._redis.xack(STREAM, self._name, key)
            return None
        return Delivery(message=message, deliveries=count, token=key)

    def _entries(self, after: str, count: int, block: int | None) -> list[tuple[str, dict[str, str]]]:
        try:
            found = self._redis.xreadgroup(
                self._name, _CONSUMER, {STREAM: after}, count=count, block=block
            )
        except redis.ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            _make(self._redis, self._name, "0")  # the server was flushed: all that is there came after
            return []
        streams = found.items() if isinstance(found, dict) else found or []
        return [
            entry
            for _, read in streams
            for entry in (read[0] if read and isinstance(read[0], list) else read)
        ]

    def _tell_gap(self) -> None:
        """Say in the log that messages were trimmed before this subscriber had them."""
        groups = {found["name"]: found for found in self._redis.xinfo_groups(STREAM)}
        last = groups.get(self._name, {}).get("last-delivered-id")
        gone = self._redis.xinfo_stream(STREAM).get("max-deleted-entry-id")
        if last and gone and _order(gone) > _order(last) > (0, 0):
            _log.warning("messages are gone that this subscriber has not had; replay them", subscriber=self._name)


def _order(entry: str) -> tuple[int, int]:
    first, _, second = entry.partition("-")
    return int(first), int(second or 0)


def _dead(name: str) -> str:
    return f"{STREAM}:dead:{name}"


def _make(client: Any, name: str, begin: str) -> None:
    try:
        client.xgroup_create(STREAM, name, id=begin, mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise UnavailableError(f"the event bus on Redis does not answer: {error}") from error


