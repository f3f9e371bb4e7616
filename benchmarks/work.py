"""What the steps of both sides do."""

import time
from collections.abc import Callable
from functools import partial


def nothing() -> None:
    """A step that costs nothing itself: all of its time is ours, or Celery's."""


def fibonacci(number: int) -> int:
    """The Fibonacci number, as slowly as Windmill's published benchmark asks for it."""
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


# light, heavy: Windmill's, 40 × fibonacci(10) and 10 × fibonacci(33).
WORK: dict[str, Callable[[], object]] = {
    "nothing": nothing,
    "second": partial(time.sleep, 1.0),
    "light": partial(fibonacci, 10),
    "heavy": partial(fibonacci, 33),
}
