"""`client.schedules`: runs that start by the clock."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.client.answers import Run
from orchestrator.client.schedule_answers import Backfill, Fire, Schedule, ScheduleSummary
from orchestrator.client.transport import Transport, segment


class Schedules:
    """Schedules, by id or name; every call but reading needs the scope `operate`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        workflow: str,
        *,
        cron: str | None = None,
        interval: str | float | None = None,
        rrule: str | None = None,
        timezone: str = "UTC",
        inputs: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Schedule:
        """Make a schedule, by exactly one of `cron`, `interval` and `rrule`.

        fields: `overlap`, `catch_up`, `jitter`, `starts_at`, `ends_at`, `variables`, `labels`, `priority` and
        `version`, as the API takes them. Raises Conflict where the name is taken, Invalid.
        """
        timing = {"cron": cron, "interval": interval, "rrule": rrule}
        given = {kind: value for kind, value in timing.items() if value is not None}
        body = {"name": name, "workflow": workflow, "timezone": timezone, "inputs": dict(inputs or {})}
        made: Schedule = self._transport.write(
            "POST", "/api/schedules", {**body, **given, **fields}, idempotency_key=idempotency_key
        )
        return made

    def list(self, limit: int | None = None, *, workflow: str | None = None) -> Iterator[ScheduleSummary]:
        """Schedules by name, those of one workflow alone where it is given."""
        return self._transport.pages("/api/schedules", limit, workflow=workflow)

    def get(self, schedule: str) -> Schedule:
        """A schedule with its next fire times, latest fires and backfills."""
        found: Schedule = self._transport.get(_path(schedule))
        return found

    def update(self, schedule: str, changes: Mapping[str, Any]) -> Schedule:
        """Change what is given; another timing counts from now on."""
        changed: Schedule = self._transport.write("PATCH", _path(schedule), dict(changes))
        return changed

    def delete(self, schedule: str) -> Schedule:
        """Remove a schedule; its runs stay."""
        removed: Schedule = self._transport.write("DELETE", _path(schedule))
        return removed

    def pause(self, schedule: str, reason: str = "") -> Schedule:
        """Let it fire no more until it is resumed."""
        return self._act(schedule, "pause", reason)

    def resume(self, schedule: str, reason: str = "") -> Schedule:
        """Let it fire from now on; what came while it was paused is left out."""
        return self._act(schedule, "resume", reason)

    def trigger(self, schedule: str, reason: str = "", *, idempotency_key: str | None = None) -> Run:
        """Start a run now, beside the plan."""
        run: Run = self._transport.write(
            "POST", f"{_path(schedule)}/trigger", {"reason": reason}, idempotency_key=idempotency_key
        )
        return run

    def backfill(self, schedule: str, start: str, end: str, *, max_parallel: int = 1) -> Backfill:
        """Make up the fire times from `start` to `end` (RFC 3339, both included) that have no run."""
        body = {"from": start, "to": end, "max_parallel": max_parallel}
        made: Backfill = self._transport.write("POST", f"{_path(schedule)}/backfill", body)
        return made

    def fires(
        self, schedule: str, limit: int | None = None, *, kind: str | None = None, outcome: str | None = None
    ) -> Iterator[Fire]:
        """What became of its fire times, the latest first."""
        return self._transport.pages(f"{_path(schedule)}/fires", limit, kind=kind, outcome=outcome)

    def _act(self, schedule: str, act: str, reason: str) -> Schedule:
        found: Schedule = self._transport.write("POST", f"{_path(schedule)}/{act}", {"reason": reason})
        return found


def _path(schedule: str) -> str:
    return f"/api/schedules/{segment(schedule)}"
