"""What the statements that write a run and move it are asked to do, as plain data."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models.states import RUN_TERMINAL, RunStatus, run_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMove:
    """Move a run to `to`, if it is in one of `sources`, with its event.

    `error` is kept if the run has none yet; `outputs` are written where given. unless_failed: only a run that has no
    error and is not being stopped.
    """

    run_id: str
    to: RunStatus
    event: str
    data: dict[str, Any] = field(default_factory=dict)
    actor: str | None = None
    error: dict[str, Any] | None = None
    outputs: Any = None
    unless_failed: bool = False

    @property
    def sources(self) -> list[str]:
        """The legal source states."""
        return [source.value for source in run_sources(self.to)]

    @property
    def ends(self) -> bool:
        """Whether the run is over afterwards."""
        return self.to in RUN_TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """An event of a run, of no step."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to be written with its first events and its steps; `status` is pending or running.

    steps: JSON text of `[{no, path, undecided, live, queue}]`, of which those with a live edge are written as queued
    and sent, each with its event after `events`; `queued` is how many those are.
    budget: {limit_microcents, on_exceeded} of its own.
    """

    id: str
    workspace_id: str
    workflow_id: str
    version_id: str
    status: RunStatus
    events: tuple[RunEvent, ...]
    steps: str
    queued: int = 0
    open_steps: int
    priority: int
    has_budget: bool
    concurrency_key: str | None = None
    timeout_at: datetime | None = None
    parent_run_id: str | None = None
    parent_step: str | None = None
    parent_attempt: int | None = None
    detached: bool = False
    depth: int = 0
    budget_run_id: str | None = None
    inputs: Any
    variables: Any
    overrides: Any = None
    labels: dict[str, str] = field(default_factory=dict)
    created_by: str | None = None
    forked_from: Any = None
    budget: dict[str, Any] | None = None

    @property
    def seq(self) -> int:
        """The number of its last event."""
        return len(self.events) + self.queued
