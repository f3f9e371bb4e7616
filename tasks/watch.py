"""Sweeping without a broker: a worker that sees no sweep's stamp for three intervals runs it itself."""

import os
import threading

import structlog

from orchestrator.services import sweeps
from tasks import parts

_log = structlog.get_logger(__name__)
_stopped = threading.Event()


def start() -> None:
    """Watch from now on, in a thread of this process."""
    _stopped.clear()
    threading.Thread(target=_run, name=f"watch-{os.getpid()}", daemon=True).start()


def stop() -> None:
    """Stop watching: the worker shuts down."""
    _stopped.set()


def _run() -> None:
    interval = parts.settings().sweep_seconds
    while not _stopped.wait(interval):
        try:
            _look()
        except Exception as error:
            _log.warning("sweeps could not be watched", error=str(error))


def _look() -> None:
    own = parts.get()
    for name in sweeps.stale(own.deps):
        _log.warning("nobody sweeps; doing it here", sweep=name)
        own.carrier.send(sweeps.run(own.deps, name).effects)
