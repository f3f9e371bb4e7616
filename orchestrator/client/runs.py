"""`client.runs`: start runs, find them, follow them to their end, control them."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.client import follow
from orchestrator.client.answers import Event, Run, RunStatus, RunSummary, Step, StepWithAttempts
from orchestrator.client.errors import RunFailed
from orchestrator.client.transport import Transport, segment, step_path


class Runs:
    """Runs, by id."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(
        self,
        workflow: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        variables: Mapping[str, Any] | None = None,
        budget: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        priority: int | None = None,
        version: int | None = None,
        labels: Mapping[str, str] | None = None,
        hold: int = 0,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a run of a workflow (id or name), of its current version by default.

        hold: seconds, 300 at most, that the API holds its answer for the run's end. Raises Invalid for
        inputs that the schema refuses, NotFound, Conflict for an archived workflow.
        """
        given = {
            "inputs": inputs,
            "variables": variables,
            "budget": budget,
            "overrides": overrides,
            "priority": priority,
            "version": version,
            "labels": labels,
        }
        started: Run = self._transport.write(
            "POST",
            f"/api/workflows/{segment(workflow)}/runs",
            {name: value for name, value in given.items() if value is not None},
            params={"wait": hold or None},
            hold=hold,
            idempotency_key=idempotency_key,
        )
        return started

    def list(
        self,
        limit: int | None = None,
        *,
        workflow: str | None = None,
        status: RunStatus | None = None,
        labels: Mapping[str, str] | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        parent: str | None = None,
    ) -> Iterator[RunSummary]:
        """Runs, newest first, that fit all that is given. Times are RFC 3339."""
        return self._transport.pages(
            "/api/runs",
            limit,
            workflow=workflow,
            status=status,
            label=_pairs(labels or {}) or None,
            created_after=created_after,
            created_before=created_before,
            parent=parent,
        )

    def get(self, run: str, *, steps: bool = False) -> Run:
        """A run, with `steps` also its first 1,000 steps."""
        found: Run = self._transport.get(_path(run), include="steps" if steps else None)
        return found

    def steps(self, run: str, limit: int | None = None) -> Iterator[Step]:
        """The steps of a run in the order of its plan."""
        return self._transport.pages(f"{_path(run)}/steps", limit)

    def step(self, run: str, path: str) -> StepWithAttempts:
        """One step, such as `each[3]/summarise`, with every attempt."""
        found: StepWithAttempts = self._transport.get(f"{_path(run)}/steps/{step_path(path)}")
        return found

    def log(self, run: str, *, after: int = 0, limit: int | None = None) -> Iterator[Event]:
        """The events that a run has so far, from after number `after`."""
        return self._transport.pages(f"{_path(run)}/events", limit, after=after)

    def events(self, run: str, *, after: int = 0) -> Generator[Event, None, None]:
        """A run's events from after number `after`, as they come, to its end.

        A stream that is cut goes on where it was, every event once; raises what went wrong when the API is
        away for more than a minute.
        """
        return follow.events(self._transport, _path(run), after)

    def wait(self, run: str, *, timeout: float | None = None, check: bool = False) -> Run:
        """Wait for a run's end; a paused run has not ended. With `check` a run that did not succeed raises RunFailed.

        Raises WaitTimedOut after `timeout` seconds, and what went wrong when the API is away for a minute.
        """
        ended = follow.end(self._transport, _path(run), timeout)
        if check and ended["status"] != "success":
            raise RunFailed(ended)
        return ended

    def pause(self, run: str, *, reason: str = "") -> Run:
        """Start nothing more; what runs ends. Raises Conflict for a run that has ended."""
        return self._act(run, "pause", {"reason": reason})

    def resume(
        self, run: str, *, input: Mapping[str, Any] | None = None, limit_cents: int | None = None
    ) -> Run:
        """Go on with a paused run: `input` is what the pause asked for, `limit_cents` a new budget."""
        body: dict[str, Any] = {} if input is None else {"input": input}
        if limit_cents is not None:
            body["budget"] = {"limit_cents": limit_cents}
        return self._act(run, "resume", body)

    def abort(self, run: str, *, reason: str = "") -> Run:
        """Stop a run for good: what has not started is skipped, what runs is stopped. A repeat changes nothing."""
        return self._act(run, "abort", {"reason": reason})

    def mermaid(self, run: str) -> str:
        """The diagram of a run with its steps' statuses."""
        return self._transport.text(f"{_path(run)}/mermaid")

    def _act(self, run: str, action: str, body: Mapping[str, Any]) -> Run:
        after: Run = self._transport.write("POST", f"{_path(run)}/{action}", body)
        return after


def _path(run: str) -> str:
    return f"/api/runs/{segment(run)}"


def _pairs(labels: Mapping[str, str]) -> Sequence[str]:
    return [f"{key}:{value}" for key, value in labels.items()]
