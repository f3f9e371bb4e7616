"""The one way in which a test waits: for a condition, with a limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 30.0


def poll(condition: Callable[[], T], limit: float = PATIENCE, what: str = "the condition") -> T:
    """The first true answer of `condition`, asked at growing intervals of 5 to 100 ms.

    Raises AssertionError with `what` and the last answer after `limit` seconds, `PATIENCE` at least: a busy
    machine is no failure. Where the time itself is tested, it is measured.
    """
    limit = max(limit, PATIENCE)
    end = time.monotonic() + limit
    pause = 0.005
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come about within {limit:g} s; last answer: {answer!r}")
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)
    return answer
