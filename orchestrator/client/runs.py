"""`client.runs`: start runs, find them, follow them to their end, control them."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from orchestrator.client import follow
from orchestrator.client.answers import (
    BulkAction,
    BulkItems,
    Checkpoint,
    Comparison,
    Event,
    Run,
    RunStatus,
    RunSummary,
    Span,
    Step,
    StepWithAttempts,
)
from orchestrator.client.errors import RunFailed
from orchestrator.client.follow import Streamed
from orchestrator.client.transport import Transport, label_pairs, segment, step_path


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
            label=label_pairs(labels),
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

    def stream(self, run: str, *, after: int = 0) -> Generator[Streamed, None, None]:
        """The same, and between the events what steps stream while they work: `stream.chunk`, whose `seq` is None.

        What was streamed before it was listened for, or while the connection was cut, is in the steps' outputs.
        """
        return follow.streamed(self._transport, _path(run), after)

    def timeline(self, run: str, limit: int | None = None) -> Iterator[Span]:
        """The attempts of a run in the order they began, with when they were queued, waited and ended."""
        return self._transport.pages(f"{_path(run)}/timeline", limit)

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

    def abort(self, run: str, *, reason: str = "", compensate: bool = False) -> Run:
        """Stop a run for good: what has not started is skipped, what runs is stopped. A repeat changes nothing."""
        return self._act(run, "abort", {"reason": reason, "compensate": compensate})

    def compensate(self, run: str, *, reason: str = "") -> Run:
        """Undo what an ended run has done; what could not be undone before is tried again."""
        return self._act(run, "compensate", {"reason": reason})

    def signal(self, run: str, signal: str, data: Any = None, *, id: str | None = None) -> Run:
        """Let the step go on that waits for this signal; it is kept until one does.

        id: the sender's own number of it; the first of a number counts. Raises Conflict for a run that has ended,
        Invalid for data that the step's schema refuses.
        """
        return self._act(run, "signal", {"signal": signal, "data": data, "id": id})

    def retry(self, run: str, path: str, *, reason: str = "", limit_cents: int | None = None) -> Run:
        """Try a failed step again, with fresh tries. A run that has ended goes on, with a new budget where given.

        Raises Conflict for a step that has not failed; so do the following where they make no sense.
        """
        return self._step(run, path, "retry", reason, limit_cents)

    def skip(self, run: str, path: str, *, reason: str = "", limit_cents: int | None = None) -> Run:
        """Skip a step that has failed, waits or has not begun."""
        return self._step(run, path, "skip", reason, limit_cents)

    def complete(
        self, run: str, path: str, output: Any, *, reason: str = "", limit_cents: int | None = None
    ) -> Run:
        """Let a failed or waiting step succeed with this output. Raises Invalid for one that is refused."""
        return self._step(run, path, "complete", reason, limit_cents, {"output": output})

    def rerun(self, run: str, path: str, *, reason: str = "", limit_cents: int | None = None) -> Run:
        """Do an ended step and all behind it anew; what is before it is reused."""
        return self._step(run, path, "rerun", reason, limit_cents)

    def override(
        self,
        run: str,
        path: str,
        *,
        timeout: str | float | None = None,
        retry: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> Run:
        """Change the timeout or the retry policy of a step's next attempts, and of a retry that waits."""
        given = {"timeout": timeout, "retry": retry}
        body = {name: value for name, value in given.items() if value is not None}
        return self._step(run, path, "override", reason, None, body)

    def checkpoints(self, run: str, limit: int | None = None) -> Iterator[Checkpoint]:
        """The checkpoints of a run, oldest first; automatic ones stand after each step and before some acts."""
        return self._transport.pages(f"{_path(run)}/checkpoints", limit)

    def checkpoint(self, run: str, name: str, *, reason: str = "") -> Checkpoint:
        """Name the present position of a run. Raises Conflict for a name that it has already."""
        body = {"name": name, "reason": reason}
        created: Checkpoint = self._transport.write("POST", f"{_path(run)}/checkpoints", body)
        return created

    def restore(
        self, run: str, checkpoint: str | int, *, reason: str = "", limit_cents: int | None = None
    ) -> Run:
        """Bring a run back to a checkpoint, or to after event number `checkpoint`; one that has ended goes on."""
        budget = {} if limit_cents is None else {"budget": {"limit_cents": limit_cents}}
        place = segment(str(checkpoint))
        return self._act(run, f"checkpoints/{place}/restore", {"reason": reason, **budget})

    def compare(self, run: str, old: str | int, new: str | int) -> Comparison:
        """What differs between two positions of a run, by names of checkpoints or numbers of events."""
        given = {"from": str(old), "to": str(new)}
        found: Comparison = self._transport.get(f"{_path(run)}/checkpoints/diff", **given)
        return found

    def fork(
        self,
        run: str,
        *,
        from_step: str | None = None,
        checkpoint: str | None = None,
        seq: int | None = None,
        inputs: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        reason: str = "",
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a run from a position of this one: what was decided by then is copied at no cost, the rest is done.

        Just one of `from_step` (it and all behind it is done again), `checkpoint` and `seq`. `inputs` and `variables`
        are laid over those that stood then. Raises Invalid for inputs that the schema refuses, Conflict.
        """
        given = {
            "from_step": from_step,
            "checkpoint": checkpoint,
            "seq": seq,
            "inputs": inputs,
            "variables": variables,
        }
        body = {name: value for name, value in given.items() if value is not None} | {"reason": reason}
        forked: Run = self._transport.write(
            "POST", f"{_path(run)}/fork", body, idempotency_key=idempotency_key
        )
        return forked

    def set_variables(self, run: str, values: Mapping[str, Any], *, reason: str = "") -> Run:
        """Set variables of a run that goes on; what starts after it sees them. Raises Conflict once it has ended."""
        return self._act(run, "variables", {"set": values, "reason": reason})

    def bulk(
        self,
        action: BulkAction,
        filter: Mapping[str, Any],
        *,
        reason: str = "",
        limit: int = 200,
        cursor: str | None = None,
        idempotency_key: str | None = None,
    ) -> BulkItems:
        """Act on at most `limit` runs that fit `filter`, as `GET /api/runs` takes it; `next_cursor` is for the rest."""
        body = {"action": action, "filter": filter, "reason": reason, "limit": limit}
        done: BulkItems = self._transport.write(
            "POST",
            "/api/runs/bulk",
            body if cursor is None else body | {"cursor": cursor},
            idempotency_key=idempotency_key,
        )
        return done

    def mermaid(self, run: str) -> str:
        """The diagram of a run with its steps' statuses."""
        return self._transport.text(f"{_path(run)}/mermaid")

    def _step(
        self,
        run: str,
        path: str,
        act: str,
        reason: str,
        limit_cents: int | None,
        body: Mapping[str, Any] | None = None,
    ) -> Run:
        budget = {} if limit_cents is None else {"budget": {"limit_cents": limit_cents}}
        return self._act(run, f"steps/{step_path(path)}/{act}", {**(body or {}), "reason": reason, **budget})

    def _act(self, run: str, action: str, body: Mapping[str, Any]) -> Run:
        after: Run = self._transport.write("POST", f"{_path(run)}/{action}", body)
        return after


def _path(run: str) -> str:
    return f"/api/runs/{segment(run)}"
