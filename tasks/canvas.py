"""Effects to Celery: a wave is one flat group, or a chord of one level; never nested, never chained.

Messages carry ids. What cannot be published is marked unsent and goes out with the next sweep.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from celery import Celery, Signature, chord

from models.queries import runs
from models.queries import steps as rows
from orchestrator.core.batches import SIZE
from orchestrator.core.effects import (
    Arrange,
    Deliver,
    Effect,
    Look,
    Message,
    Relay,
    Release,
    Resume,
    Stop,
    Timer,
    Wave,
)
from orchestrator.core.lanes import parse
from orchestrator.services import batching, concurrency, lanes, sweeps
from orchestrator.services.deps import Deps
from tasks.publishing import Outgoing, publish_many

_log = structlog.get_logger(__name__)
BREAKER_SECONDS = 1.0


def _signature(task: str, message: Message) -> Signature:
    args = (message.run_id, message.path, message.no, message.attempt)
    return Signature(task, args=args, immutable=True, app=_app(), options={"queue": message.queue})


def _app() -> Celery:
    from tasks.app import app

    return app


def _outgoing(wave: Wave) -> list[Outgoing]:
    """A message a step, but one for many that are cheap and go to the same queue."""
    cheap: dict[str, list[Message]] = {}
    found = []
    for message in wave.messages:
        if message.cheap:
            cheap.setdefault(message.queue, []).append(message)
        else:
            args = (message.run_id, message.path, message.no, message.attempt)
            found.append(Outgoing(task="orchestrator.step", args=args, queue=message.queue))
    for name, same in cheap.items():
        for first in range(0, len(same), SIZE):
            looks = [(message.path, message.no, message.attempt) for message in same[first : first + SIZE]]
            found.append(Outgoing(task="orchestrator.steps", args=(same[0].run_id, looks), queue=name))
    return found


def publish(wave: Wave) -> None:
    """Send one wave. Raises whatever the transport raises."""
    if wave.join is None:
        publish_many(_app(), _outgoing(wave))
        return
    members = [_signature("orchestrator.step", message) for message in wave.messages]
    chord([member.set(ignore_result=False) for member in members], app=_app())(
        _signature("orchestrator.advance", wave.join)
    )


@dataclass(slots=True, kw_only=True)
class Sender:
    """Publishes effects; after a failure it does not try for a moment, so that nobody waits for a dead broker."""

    deps: Deps
    _closed_until: float = field(default=0.0)
    _timed: set[str] = field(default_factory=set)

    def __call__(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Wave():
                    self._wave(effect)
                case Resume(message=message):
                    self._told("orchestrator.resume", message)
                case Look(message=message):
                    self._told("orchestrator.look", message)
                case Stop(outbox_id=outbox_id):
                    self._entry("orchestrator.stop", "control", outbox_id)
                case Relay(outbox_id=outbox_id):
                    self._entry("orchestrator.relay", "control", outbox_id)
                case Deliver(delivery_id=delivery_id, attempt=attempt):
                    self._entry("orchestrator.deliver", "webhooks", delivery_id, attempt)
                case Timer():
                    self._timer(effect)
                case Arrange(key=key):
                    self._arrange(key)
                case Release(lane=lane, seconds=seconds):
                    self._release(lane, seconds)

    def _wave(self, wave: Wave) -> None:
        if time.monotonic() < self._closed_until:
            self._unsent(wave)
            return
        try:
            publish(batching.marked(self.deps, wave))
        except Exception as error:
            self._closed_until = time.monotonic() + BREAKER_SECONDS
            _log.warning("wave not published", steps=len(wave.messages), error=str(error))
            self._unsent(wave)

    def _unsent(self, wave: Wave) -> None:
        run_id = wave.messages[0].run_id
        with self.deps.db.transaction() as session:
            runs.lock(session, run_id)
            rows.unsend(session, run_id, [message.no for message in wave.messages])
            if wave.join is not None:
                rows.off_chord(session, run_id, wave.join.no)

    def _told(self, task: str, message: Message) -> None:
        """The parked step stays due: what is not published here is by the sweep."""
        if time.monotonic() < self._closed_until:
            return
        try:
            _signature(task, message).apply_async()
        except Exception as error:
            self._closed_until = time.monotonic() + BREAKER_SECONDS
            _log.warning("message not published", task=task, step=message.path, error=str(error))

    def _entry(self, task: str, queue: str, *ids: str | int) -> None:
        """The row that is named stays the truth: what is not published here is by its sweep."""
        if time.monotonic() < self._closed_until:
            return
        try:
            Signature(task, args=ids, app=_app(), options={"queue": queue}).apply_async()
        except Exception as error:
            self._closed_until = time.monotonic() + BREAKER_SECONDS
            _log.warning("entry not published", task=task, entry=ids[0], error=str(error))

    def _arrange(self, key: str) -> None:
        try:
            self(concurrency.arrange(self.deps, key))
        except Exception:
            _log.exception("runs not arranged; the sweep makes it good", key=key)

    def _release(self, lane: str, seconds: float) -> None:
        """Now, or by an in-process timer where no sweep comes before it; one timer a lane."""
        if seconds <= 0:
            self._release_now(lane)
        elif seconds <= 2 * self.deps.settings.sweep_seconds and lane not in self._timed:
            self._timed.add(lane)
            timer = threading.Timer(seconds, self._release_now, args=(lane,))
            timer.daemon = True
            timer.start()

    def _release_now(self, lane: str) -> None:
        self._timed.discard(lane)
        try:
            self(lanes.release(self.deps, parse(lane)))
        except Exception:
            _log.exception("nothing released; the sweep makes it good", lane=lane)

    def _timer(self, timer: Timer) -> None:
        thread = threading.Timer(timer.seconds, self._fire, args=(timer,))
        thread.daemon = True
        thread.start()

    def _fire(self, timer: Timer) -> None:
        try:
            self(sweeps.wake(self.deps, timer))
        except Exception:
            _log.exception("timer failed; the sweep makes it good", run=timer.run_id, step=timer.no)


def sender(deps: Deps) -> Sender:
    """This process's way of sending effects."""
    return Sender(deps=deps)


@dataclass(slots=True, kw_only=True)
class Background:
    """For the API: effects are handed to one thread, so that no request waits for a broker."""

    send: Callable[[Sequence[Effect]], None]
    _waiting: "queue.SimpleQueue[Sequence[Effect]]" = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def __call__(self, effects: Sequence[Effect]) -> None:
        if not effects:
            return
        self._waiting.put(tuple(effects))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            effects = self._waiting.get()
            try:
                self.send(effects)
            except Exception:
                _log.exception("effects not sent; the sweep makes them good", effects=len(effects))
