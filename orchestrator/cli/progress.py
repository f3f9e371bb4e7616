"""A run's steps as its events tell of them: what the live views draw."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

STEP_EVENTS = {
    "step.queued": "queued",
    "step.started": "running",
    "step.waiting": "waiting",
    "step.resumed": "running",
    "step.retrying": "retrying",
    "step.completed": "success",
    "step.failed": "failed",
    "step.skipped": "skipped",
    "step.aborted": "aborted",
    "step.compensating": "compensating",
    "step.compensated": "compensated",
    "step.compensation_failed": "failed",
    "step.released": "queued",
    "step.reset": "pending",
}
RUN_EVENTS = {
    "run.created": "pending",
    "run.started": "running",
    "run.paused": "paused",
    "run.resumed": "running",
    "run.reopened": "running",
    "run.compensating": "compensating",
    "run.compensated": "compensated",
    "run.completed": "success",
    "run.failed": "failed",
    "run.aborted": "aborted",
}
_WORKS = frozenset({"running", "waiting"})
_LAST = 1_000  # characters of what a step streams that are kept
OVER = frozenset({"success", "failed", "skipped", "aborted", "compensated"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """A step as it stands. `since` is when it took its status, `attempt` counts from 1, `writes` is what it streams."""

    path: str
    status: str = "pending"
    since: datetime | None = None
    started_at: datetime | None = None
    attempt: int = 0
    error: str | None = None
    waits_for: str | None = None
    writes: str | None = None

    def seconds(self, now: datetime) -> float | None:
        """How long the step has worked, None before it started."""
        if self.started_at is None:
            return None
        until = self.since if self.status in OVER and self.since else now
        return max(0.0, (until - self.started_at).total_seconds())


class Progress:
    """A run's status and steps, in plan order. Safe to read while another thread applies events."""

    def __init__(self, title: str, paths: Iterable[str] = ()) -> None:
        self.title = title
        self.status = "pending"
        self._steps = {path: StepLine(path=path) for path in paths}
        self._lock = threading.Lock()

    @property
    def steps(self) -> list[StepLine]:
        with self._lock:
            return list(self._steps.values())

    def counts(self) -> Counter[str]:
        return Counter(step.status for step in self.steps)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event; those that change no status are passed over."""
        if event["type"] in RUN_EVENTS:
            self.status = RUN_EVENTS[event["type"]]
        elif event["type"] == "stream.chunk":
            with self._lock:
                step = self._steps.get(event["step"]) or StepLine(path=event["step"])
                text = (step.writes or "") + event["data"]["text"]
                self._steps[event["step"]] = replace(step, writes=text[-_LAST:])
        elif event["type"] in STEP_EVENTS and event.get("step"):
            with self._lock:
                path = event["step"]
                self._steps[path] = _moved(self._steps.get(path) or StepLine(path=path), event)


def why(data: Mapping[str, Any]) -> str | None:
    """What an event says of a failure, one that the step succeeded in spite of too."""
    error = data.get("error")
    if not error:
        return None
    return f"{'degraded after ' if data.get('degraded') else ''}{error['code']}: {error['message']}"


def now() -> datetime:
    return datetime.now(UTC)


def _moved(step: StepLine, event: Mapping[str, Any]) -> StepLine:
    data = event.get("data") or {}
    status = STEP_EVENTS[event["type"]]
    at = datetime.fromisoformat(event["at"])
    begins = event["type"] == "step.started" or (step.started_at is None and status in OVER)
    return replace(
        step,
        status=status,
        since=at,
        started_at=at if begins else step.started_at,
        attempt=data.get("attempt") or step.attempt,
        waits_for=data.get("reason") if status == "waiting" else None,
        error=why(data),
        writes=step.writes if {status, step.status} <= _WORKS else None,
    )


def last_line(text: str, width: int) -> str:
    """The last line of a text that says something, its end where it is longer than `width`."""
    line = next((found for line in reversed(text.splitlines()) if (found := " ".join(line.split()))), "")
    shown = "".join(char if char.isprintable() else "\ufffd" for char in line)
    return shown if len(shown) <= width else "…" + shown[1 - width :]
