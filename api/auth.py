"""Whose call it is: the bearer's key, looked up at most once a second, and how often it may call."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from models.errors import RateLimitedError, UnauthorizedError
from orchestrator.services.actors import Actor

_REMEMBERED = 10_000


class KeyRing:
    """Actors by token, each kept for at most `seconds`, so that a revoked key works no longer than that."""

    def __init__(self, look_up: Callable[[str], Actor], seconds: float = 1.0) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._known: OrderedDict[bytes, tuple[float, Actor]] = OrderedDict()
        self._lock = threading.Lock()

    def actor(self, authorization: str | None) -> Actor:
        """The actor of an Authorization header. Raises UnauthorizedError."""
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise UnauthorizedError("This call needs a key: send 'Authorization: Bearer <key>'")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = time.monotonic()
        with self._lock:
            until, actor = self._known.get(digest, (0.0, None))
        if actor is None or until < now:
            actor = self._look_up(token)
            self._keep(digest, now + self._seconds, actor)
        return actor

    def forget(self) -> None:
        """Look every key up again: one was revoked."""
        with self._lock:
            self._known.clear()

    def _keep(self, digest: bytes, until: float, actor: Actor) -> None:
        with self._lock:
            self._known[digest] = (until, actor)
            self._known.move_to_end(digest)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class RateLimit:
    """A bucket of `a_minute` calls for each key, filled evenly; of this process alone."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = a_minute
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key_id: str) -> None:
        """Count one call. Raises RateLimitedError with the seconds until the next is taken."""
        with self._lock:
            now = self._clock()
            bucket = self._buckets.setdefault(key_id, _Bucket(self._size, now))
            self._buckets.move_to_end(key_id)
            while len(self._buckets) > _REMEMBERED:
                self._buckets.popitem(last=False)
            bucket.left = min(self._size, bucket.left + (now - bucket.at) * self._size / 60)
            bucket.at = now
            if bucket.left < 1:
                wait = (1 - bucket.left) * 60 / self._size
                raise RateLimitedError(
                    f"This key has made its {self._size} calls a minute; wait {wait:.1f} s", wait
                )
            bucket.left -= 1
