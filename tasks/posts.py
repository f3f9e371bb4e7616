"""POSTs of webhooks, in threads of this process beside its tasks.

`control`, `sweeps` and `webhooks` share two processes in a small deployment: ten receivers that do not answer
would keep both of them for minutes.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import structlog

from orchestrator.services import delivering
from tasks import parts

_log = structlog.get_logger(__name__)
AT_ONCE = 32  # of one process; its threads are made when they are first needed, so after any fork
_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")
_stopped = threading.Event()


def begin(delivery_id: str, attempt: int) -> None:
    """Send a delivery, and what follows it, as soon as a thread is free."""
    _threads.submit(_carry, delivery_id, attempt)


def stop() -> None:
    """Begin no other POST: the worker shuts down. What was taken is due again when its lease has run out."""
    _stopped.set()


def finish() -> None:
    """The same, and wait for those that are under way: a process of a pool ends without a look at its threads."""
    stop()
    _threads.shutdown()


def _carry(delivery_id: str, attempt: int) -> None:
    try:
        delivering.carry(parts.get().deps, delivery_id, attempt, goes_on=lambda: not _stopped.is_set())
    except Exception:
        _log.exception("delivery not carried; the sweep makes it good", delivery=delivery_id)
