"""A run's history as one document: what a test replays against another version. Pure data.

`{version: 1, workflow, workflow_version, definition_digest, run: {id, status, inputs, outputs, error, created_at},
variables, overrides, steps: {path: {type, status, route, attempts: [{attempt, status, output, error, …}]}}, events,
cut: [path]}`; `cut` names the steps whose output was cut to a preview when it was stored.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from models.errors import InvalidError, Problem

VERSION = 1
_OF_RUN = ("id", "status", "inputs", "outputs", "error", "labels", "created_at", "finished_at")
_OF_ATTEMPT = ("attempt", "status", "output", "error", "agent", "model", "tokens", "cost_microcents")
_OF_EVENT = ("seq", "type", "step", "at", "actor", "data")
Shown = Mapping[str, Any]


def build(
    run: Shown,
    steps: Iterable[Shown],
    attempts: Callable[[str], Sequence[Shown]],
    events: Iterable[Shown],
    digest: str | None,
) -> dict[str, Any]:
    """The history of a run, of what the API shows of it.

    attempts: every try at the step of a path; asked for steps with more than one. digest: its definition's.
    """
    found = {step["path"]: _step(step, attempts) for step in steps}
    log = [{key: event[key] for key in _OF_EVENT if key in event} for event in events]
    created: Shown = next((event["data"] for event in log if event["type"] == "run.created"), {})
    applied = next((e["data"] for e in log if e["type"] == "override.applied" and "step" not in e), None)
    return {
        "version": VERSION,
        "workflow": run["workflow"],
        "workflow_version": run["version"],
        "definition_digest": digest,
        "run": {key: run[key] for key in _OF_RUN},
        "variables": created.get("variables", {}),
        "overrides": applied,
        "steps": found,
        "events": log,
        "cut": [path for path, step in found.items() if any(_is_cut(a["output"]) for a in step["attempts"])],
    }


def _step(step: Shown, attempts: Callable[[str], Sequence[Shown]]) -> dict[str, Any]:
    count = step["attempts"]
    tried: Sequence[Shown] = ()
    if count == 1:
        ended = step["status"] in ("success", "failed", "aborted")
        tried = [{**step, "attempt": 1, "status": step["status"] if ended else "running"}]
    if count > 1 or (count == 1 and step["status"] not in ("success", "failed")):
        tried = attempts(step["path"])
    return {
        "type": step["type"],
        "status": step["status"],
        "route": step["route"],
        "attempts": [{key: each[key] for key in _OF_ATTEMPT} for each in tried],
    }


def _is_cut(output: Any) -> bool:
    return isinstance(output, dict) and set(output) == {"truncated", "preview", "bytes"}


def check(history: Any) -> dict[str, Any]:
    """A history that can be replayed. Raises InvalidError for anything else."""
    wanted = ("workflow", "run", "steps", "events")
    sound = isinstance(history, dict) and all(name in history for name in wanted)
    if not sound or history.get("version") != VERSION:
        message = (
            f"this is no history of version {VERSION}; `orchestrator history RUN` and "
            "orchestrator.testing.record(run) make one"
        )
        raise InvalidError(message, [Problem(pointer="/history", code="INVALID_VALUE", message=message)])
    return dict(history)
