"""A thread with an event loop of its own, for drivers whose library knows no other way."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

import structlog

_log = structlog.get_logger(__name__)
T = TypeVar("T")


class EventLoop:
    """Coroutines are run in it from any thread."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_note)  # of a library's own tasks; ours are looked at
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
        """What a coroutine returns or raises. Raises TimeoutError after `timeout` seconds, and cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout)
        except FutureTimeout:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread; what still runs in it is cancelled."""
        if not self.loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._cancel(), self.loop)
            self._thread.join(5.0)
            if not self._thread.is_alive():
                self.loop.close()

    async def _cancel(self) -> None:
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self.loop.stop()


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _log.debug("in an event loop", message=context.get("message"), error=str(context.get("exception")))
