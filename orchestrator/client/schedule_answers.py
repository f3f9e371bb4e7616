"""What the API answers of schedules."""

from typing import Any, Literal, TypedDict

from orchestrator.client.answers import RunStatus

Overlap = Literal["skip", "queue", "allow", "cancel_previous"]


class FireError(TypedDict):
    """Why a fire has no run."""

    code: str
    message: str


class Fire(TypedDict):
    """One fire time and what became of it; `run_status` is None where there is no run, or it is gone."""

    fire_at: str
    kind: Literal["planned", "manual", "backfill"]
    outcome: Literal["started", "queued", "skipped", "refused"]
    run_id: str | None
    run_status: RunStatus | None
    error: FireError | None
    backfill_id: str | None
    created_at: str


# not in class form: `from` is a keyword
Backfill = TypedDict(
    "Backfill",
    {
        "id": str,
        "from": str,
        "to": str,
        "max_parallel": int,
        "total": int,
        "queued": int,
        "started": int,
        "refused": int,
        "created_by": str | None,
        "created_at": str,
        "finished_at": str | None,
    },
)


class FireCounts(TypedDict):
    """Fire times by what became of them; `missed`: older than the catch-up window when they were found."""

    started: int
    skipped: int
    refused: int
    missed: int


class ScheduleSummary(TypedDict):
    """A schedule in a list. One of `cron`, `interval` and `rrule` is not None."""

    id: str
    name: str
    workflow: str
    version: int | None
    cron: str | None
    interval: Any
    rrule: str | None
    timezone: str
    starts_at: str | None
    ends_at: str | None
    inputs: dict[str, Any]
    variables: dict[str, Any]
    labels: dict[str, Any]
    priority: int
    overlap: Overlap
    catch_up: Any
    jitter: Any
    paused: bool
    paused_at: str | None
    next_fire_at: str | None
    next_fire_times: list[str]
    last_fire_at: str | None
    counts: FireCounts
    created_by: str | None
    created_at: str
    updated_at: str


class Schedule(ScheduleSummary):
    """A schedule with its latest fires and backfills."""

    recent_fires: list[Fire]
    backfills: list[Backfill]
