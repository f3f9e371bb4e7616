"""A lock in Redis that its holder's process renews in a thread, and that falls when the process dies."""

import secrets
import threading
import time
from typing import Any

import redis

from orchestrator.drivers import redis_client

_RENEW = "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('pexpire', KEYS[1], ARGV[2]) or 0"
_RELEASE = "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1]) or 0"
_TRY_SECONDS = 0.2


class RedisLock:
    """`lease`: seconds until the lock of a dead holder falls. Used by one thread beside its own."""

    def __init__(self, url: str, key: str, lease: float) -> None:
        self._redis: Any = redis_client.connect(url, timeout=max(0.2, lease / 3))
        self._key = key
        self._lease = lease
        self._token = secrets.token_hex(16)
        self._until = 0.0
        self._closed = threading.Event()
        self._renewer: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether it is certainly ours, by this process's own clock."""
        return time.monotonic() < self._until

    def take(self, end: float) -> bool:
        """Take the lock if it is free, trying until `end` of `time.monotonic()`. Raises redis.RedisError."""
        while not self.held:
            asked = time.monotonic()
            taken = self._redis.set(self._key, self._token, nx=True, px=int(self._lease * 1000)) or self._renewed()
            if taken:
                self._until = asked + self._lease
                self._start()
                return True
            if time.monotonic() >= end:
                return False
            self._closed.wait(min(_TRY_SECONDS, max(0.01, end - time.monotonic())))
        return True

    def close(self) -> None:
        """Give it back, as far as the server answers."""
        self._closed.set()
        if self._renewer is not None:
            self._renewer.join(self._lease)
        try:
            if self.held:
                self._redis.eval(_RELEASE, 1, self._key, self._token)
        except (redis.RedisError, OSError):
            pass  # it falls by itself
        self._until = 0.0
        self._redis.close()

    def _renewed(self) -> bool:
        return bool(self._redis.eval(_RENEW, 1, self._key, self._token, int(self._lease * 1000)))

    def _start(self) -> None:
        if self._renewer is None:
            self._renewer = threading.Thread(target=self._renew, name="bus-lock", daemon=True)
            self._renewer.start()

    def _renew(self) -> None:
        while not self._closed.wait(self._lease / 3):
            if not self.held:
                continue
            asked = time.monotonic()
            try:
                self._until = asked + self._lease if self._renewed() else 0.0
            except (redis.RedisError, OSError):
                continue  # held until the lease is over; the thread that works meets the same server
