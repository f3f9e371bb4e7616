"""What ended lately is kept for a while, for those who ask again. Source: spec "gateway" §4, Idempotency."""

import time
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """`most` entries, each for `seconds` at the longest; the oldest go first."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._entries: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def put(self, key: str, value: T) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (time.monotonic(), value)
        self._forget()

    def get(self, key: str) -> T | None:
        self._forget()
        found = self._entries.get(key)
        return None if found is None else found[1]

    def _forget(self) -> None:
        old = time.monotonic() - self._seconds
        while self._entries:
            key, (since, _) = next(iter(self._entries.items()))
            if len(self._entries) <= self._most and since >= old:
                return
            del self._entries[key]
