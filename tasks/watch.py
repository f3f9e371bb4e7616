"""What a worker does beside its tasks, in one thread: it says what it consumes, and sweeps when nobody does.

A worker that sees no sweep's stamp for three intervals runs it itself, with no broker.
"""

import os
import threading
import time
from collections.abc import Callable, Collection

import structlog

from orchestrator.services import consumers, sweeps
from tasks import parts

_log = structlog.get_logger(__name__)
ANNOUNCE_SECONDS = 5.0
FINISH_SECONDS = 5.0
_stopped = threading.Event()
_threads: list[threading.Thread] = []


def start(queues: Collection[str], slots: int) -> None:
    """Watch from now on, in a thread of this process, which takes `slots` messages of `queues` at once."""
    _stopped.clear()
    name = f"watch-{os.getpid()}"
    _threads[:] = [threading.Thread(target=_run, args=(tuple(queues), slots), name=name, daemon=True)]
    _threads[0].start()


def stop() -> None:
    """Stop watching: the worker shuts down."""
    _stopped.set()


def finish() -> None:
    """The same, and wait until this process no longer says that it consumes: its end takes the thread with it.

    At most `FINISH_SECONDS`: a database that does not answer holds no worker back, and half a minute later it
    counts no more.
    """
    stop()
    for thread in _threads:
        thread.join(FINISH_SECONDS)


def _run(queues: tuple[str, ...], slots: int) -> None:
    interval = parts.settings().sweep_seconds
    _safely(lambda: parts.get().deps.agents.serve(slots))
    announced, looked = 0.0, time.monotonic()
    while True:
        if time.monotonic() - announced >= ANNOUNCE_SECONDS:
            announced = time.monotonic()
            _safely(lambda: consumers.announce(parts.get().deps, queues, slots))
        if _stopped.wait(min(interval, ANNOUNCE_SECONDS)):
            break
        if time.monotonic() - looked >= interval:
            looked = time.monotonic()
            _safely(_look)
    _safely(lambda: consumers.withdraw(parts.get().deps))


def _safely(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception as error:
        _log.warning("not watched", error=str(error))


def _look() -> None:
    own = parts.get()
    for name in sweeps.stale(own.deps):
        if _stopped.is_set():
            return
        _log.warning("nobody sweeps; doing it here", sweep=name)
        own.carrier.send(sweeps.run(own.deps, name).effects)
