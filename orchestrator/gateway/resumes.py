"""Turns that a crash interrupted are taken up again by themselves, a while after the start.

Source: spec "gateway" §4.
"""

import asyncio
from collections.abc import Callable

from orchestrator.gateway.ledger import Interrupted


class Resumes:
    """Turns to be taken up, by session. `take_up` does it, `after` seconds from now."""

    def __init__(self, take_up: Callable[[Interrupted], object], after: float) -> None:
        self._take_up = take_up
        self._after = after
        self._due: dict[str, list[asyncio.TimerHandle]] = {}

    def plan(self, interrupted: Interrupted) -> None:
        timer = asyncio.get_running_loop().call_later(self._after, self._take_up, interrupted)
        self._due.setdefault(interrupted.session_key, []).append(timer)

    def forget(self, session_key: str) -> None:
        """Take nothing up in that session."""
        for timer in self._due.pop(session_key, []):
            timer.cancel()

    def stop(self) -> None:
        for session_key in tuple(self._due):
            self.forget(session_key)
