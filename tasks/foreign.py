"""Tasks of other applications on our broker: published, looked up in the result backend, revoked.

Celery's own `send_task` subscribes to each result, in a process that may never read it; so the message is put
together here, by the same functions.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from celery import Celery, Signature, states
from celery.backends.base import BaseKeyValueStoreBackend
from kombu.entity import Exchange, Queue
from kombu.exceptions import DecodeError

from models.errors import UnavailableError
from orchestrator.ports import ForeignCall, ForeignError, ForeignValue

BREAKER_SECONDS = 1.0
_WAKE_QUEUE = "control"
_PRECONDITION_FAILED = 406  # of AMQP
T = TypeVar("T")


def _ours() -> Celery:
    from tasks.app import app

    return app


@dataclass(slots=True, kw_only=True)
class CeleryTasks:
    """`ports.ForeignTasks`. After a failed look-up none is made for a moment, so that a sweep of many parked
    steps waits for a dead backend once."""

    app: Callable[[], Celery] = _ours
    _backend: Any = None
    _closed_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, call: ForeignCall) -> None:
        """See `ports.ForeignTasks`. A pooled connection may be a dead one: one more try, under the same id."""
        try:
            _reached(lambda: _publish(self.app(), call), "the task was not published")
        except UnavailableError:
            _reached(lambda: _publish(self.app(), call), "the task was not published")

    def result(self, task_id: str) -> ForeignValue | ForeignError | None:
        """See `ports.ForeignTasks`."""
        with self._lock:
            closed = time.monotonic() < self._closed_until
        if closed:
            raise UnavailableError("the result backend did not answer a moment ago")
        try:
            return _reached(lambda: _result(self._results(), task_id), "the result was not read")
        except UnavailableError:
            with self._lock:
                self._closed_until = time.monotonic() + BREAKER_SECONDS
            raise

    def forget(self, task_id: str) -> None:
        """See `ports.ForeignTasks`."""
        _reached(lambda: self._results().forget(task_id), "the result was not removed")

    def revoke(self, task_id: str) -> None:
        """See `ports.ForeignTasks`."""
        _reached(lambda: self.app().control.revoke(task_id, terminate=False), "the task was not revoked")

    def _results(self) -> Any:
        """One client for all threads: Celery would make one for each, and timers are threads."""
        with self._lock:
            if self._backend is None:
                self._backend = self.app().backend
            return self._backend


def _reached(act: Callable[[], T], what: str) -> T:
    """What the broker or backend gave. Raises UnavailableError for whatever its client raises."""
    try:
        return act()
    except Exception as error:
        raise UnavailableError(f"{what}: {type(error).__name__}: {error}") from error


def _publish(app: Celery, call: ForeignCall) -> None:
    wake = _wake(app, call)
    message = app.amqp.create_task_message(
        call.task_id,
        call.name,
        list(call.args),
        dict(call.kwargs),
        expires=call.expires,
        callbacks=[wake],
        errbacks=[wake],
        ignore_result=False,
        argsrepr="(...)",  # arguments may hold what no log should
        kwargsrepr="{...}",
    )
    own = Queue(_WAKE_QUEUE, Exchange(_WAKE_QUEUE), routing_key=_WAKE_QUEUE)

    def publish(declare: list[Queue]) -> None:
        with app.producer_or_acquire() as producer:
            app.amqp.send_task_message(
                producer,
                call.name,
                message,
                queue=Queue(call.queue),
                declare=declare,
                headers=dict(call.headers),
                retry=False,
            )

    try:
        publish([own, Queue(call.queue)])
    except Exception as error:
        if getattr(error, "reply_code", None) != _PRECONDITION_FAILED:
            raise
        publish([own])  # the application declared its queue in a way of its own; there it is


def _wake(app: Celery, call: ForeignCall) -> Signature:
    """Sent by the foreign worker, as we read it. By queue it would declare ours in its own way."""
    place = {"exchange": _WAKE_QUEUE, "routing_key": _WAKE_QUEUE}
    options = place | {"serializer": "json", "ignore_result": True}
    return Signature("orchestrator.answered", args=call.wakes, immutable=True, app=app, options=options)


def _result(backend: Any, task_id: str) -> ForeignValue | ForeignError | None:
    try:
        meta = _meta(backend, task_id)
    except (DecodeError, ValueError, TypeError, RecursionError) as error:
        message = f"what the task left as its result is no JSON ({error}); set result_serializer = 'json'"
        return ForeignError(name="ResultNotReadable", module=None, message=message)
    state, result = meta.get("status"), meta.get("result")
    if state == states.SUCCESS:
        return ForeignValue(value=_plain(result))
    if state in states.PROPAGATE_STATES:
        return _error(result)
    return None


def _meta(backend: Any, task_id: str) -> dict[str, Any]:
    """A result as it is stored. Celery's own way would build the exception that another application names."""
    if not isinstance(backend, BaseKeyValueStoreBackend):
        return dict(backend.get_task_meta(task_id, cache=False))
    stored = backend.get(backend.get_key_for_task(task_id))
    found = {} if stored is None else backend.decode(stored)
    return dict(found)


def _error(result: Any) -> ForeignError:
    if isinstance(result, BaseException):  # database backends give no other form
        kind = type(result)
        return ForeignError(name=kind.__name__, module=kind.__module__, message=str(result))
    given = result if isinstance(result, dict) else {"exc_message": result}
    said, module = given.get("exc_message"), given.get("exc_module")
    parts = said if isinstance(said, list | tuple) else [said]
    return ForeignError(
        name=str(given.get("exc_type") or "Exception"),
        module=None if module is None else str(module),
        message=", ".join(part if isinstance(part, str) else json.dumps(_plain(part)) for part in parts),
    )


def _plain(value: Any) -> Any:
    """Celery's JSON brings back dates, UUIDs and decimals; a step's output is JSON, where they are text."""
    return json.loads(json.dumps(value, default=str))
