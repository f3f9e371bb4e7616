"""What a recorded run says of each attempt, and what people and operators did to it, at its place in the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import ErrorCode
from orchestrator.core import event_types
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage
from orchestrator.registry import BUILT_IN

_OVER = ("step.aborted", "step.skipped")
_LETS_END = ("step.completed", "step.failed", "step.fenced", "variable.set", "step.lease_expired")
# What is recorded is said again; the engine itself does the rest.
RUN_AGAIN = frozenset({"transform", "pause", "noop", "set", "emit", "condition", "router", "loop", "parallel"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """`name`: pause resume abort timeout retry rerun skip complete override set.

    given: what it takes beside a step.
    """

    name: str
    step: str | None = None
    given: Any = None
    by: str = "recorded"
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class Score:
    """A history, to be played. `acts`: by the number of the event at which each happens."""

    history: Mapping[str, Any]
    acts: dict[int, Act] = field(default_factory=dict)
    parked: set[tuple[str, int]] = field(default_factory=set)
    starts: dict[str, list[int]] = field(default_factory=dict)
    routes: dict[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)
    variables: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def outcome(self, path: str, attempt: int) -> Succeeded | Failed | None:
        """What came of an attempt; None where nothing did: it was lost, given up, or goes on."""
        found = next((a for a in self._attempts(path) if a["attempt"] == attempt), None)
        if found is None:
            return None
        usage = _usage(found)
        if found["status"] == "failed":
            return Failed(error=_error(found["error"]), usage=usage)
        if found["status"] != "success":
            return None
        told = self.routes.get((path, attempt), {})
        type_, edges = self.history["steps"][path]["type"], told.get("edges", "")
        return Succeeded(
            output=found["output"],
            route=told.get("route"),
            terminal=type_ not in BUILT_IN and bool(edges) and "1" not in edges,
            usage=usage,
            variables=self.variables.get((path, attempt), {}),
        )

    def nth(self, path: str, begun: int) -> int | None:
        """The number of the attempt that was begun as the `begun`th of a step, from 0."""
        starts = self.starts.get(path, [])
        return starts[begun] if 0 <= begun < len(starts) else None

    def knows(self, path: str) -> bool:
        """Whether a step was there when the history was made."""
        return path in self.history["steps"]

    def _attempts(self, path: str) -> list[dict[str, Any]]:
        step = self.history["steps"].get(path)
        return [] if step is None else step["attempts"]


def read(history: Mapping[str, Any]) -> Score:
    """The score in a history."""
    score = Score(history=history)
    events = history["events"]
    last: dict[str, int] = {}
    for event in events:
        path, data = event.get("step"), event["data"]
        match event["type"]:
            case "step.started":
                score.starts.setdefault(path, []).append(data["attempt"])
            case "step.waiting":
                score.parked.add((path, data["attempt"]))
            case "step.completed":
                score.routes[path, data["attempt"]] = data
                last[path] = data["attempt"]
            case "variable.set" if path is not None and path in last:
                score.variables.setdefault((path, last[path]), {})[data["key"]] = data["value"]
    score.acts = _acts(history)
    return score


def _acts(history: Mapping[str, Any]) -> dict[int, Act]:
    found: dict[int, Act] = {}
    events = history["events"]
    reopened: tuple[str, str] | None = None
    for index, event in enumerate(events):
        data, by, path = event["data"], event.get("actor"), event.get("step")
        reason = str(data.get("reason") or "")
        if by is not None and "act" in data:
            target = path or data.get("step")
            if reopened == (data["act"], target):
                reopened = None
                continue
            if event["type"] == "run.reopened":
                reopened = (data["act"], target)
            given = _completed(history, events, index, target) if data["act"] == "complete" else None
            found[event["seq"]] = Act(name=data["act"], step=target, given=given, by=by, reason=reason)
            continue
        match event["type"]:
            case "run.paused" if by is not None or data.get("with_caller"):
                found[event["seq"]] = Act(name="pause", by=by or "caller", reason=reason)
            case "run.resumed":
                given = _resumed(history, events, index)
                found[event["seq"]] = Act(name="resume", given=given, by=by or "caller")
            case "variable.set" if by is not None and path is None:
                values = {data["key"]: data["value"]}
                found[event["seq"]] = Act(name="set", given=values, by=by, reason=reason)
            case "override.applied" if path is not None:
                values = {key: data[key] for key in ("timeout", "retry") if key in data}
                found[event["seq"]] = Act(name="override", step=path, given=values, by=by or "", reason=reason)
            case "run.failed" if _outran(data):
                found[_stopped(events, index)] = Act(name="timeout")
            case "run.aborted" if not _overspent(events[:index]):
                place = _stopped(events, index)
                found[place] = Act(name="abort", by=by or "caller", reason=reason)
    return found


def _outran(data: Mapping[str, Any]) -> bool:
    error = data.get("error") or {}
    return error.get("step") is None and error.get("code") == ErrorCode.TIMEOUT


def _overspent(events: list[Any]) -> bool:
    """Whether a run was aborted by its budget, which the engine does by itself."""
    return any(event["type"] == "run.budget_exceeded" for event in events)


def _stopped(events: list[Any], index: int) -> int:
    """The number of the event with which an abort began, whose end is the event `index`: what runs may have ended
    in between."""
    trailing = index
    while trailing > 0 and _trails(events[trailing - 1]["type"]):
        trailing -= 1
    aborted = next((n for n in range(trailing, index) if events[n]["type"] == "step.aborted"), None)
    place = aborted
    if place is None:
        place = next((n for n in range(index - 1, trailing - 1, -1) if events[n]["type"] == "step.skipped"), index)
    while place > trailing and events[place - 1]["type"] == "step.skipped":
        place -= 1
    return int(events[place]["seq"])


def _trails(type_: str) -> bool:
    return type_ in _OVER + _LETS_END or event_types.is_own(type_)


def _completed(history: Mapping[str, Any], events: list[Any], index: int, path: str | None) -> Any:
    """The output that an operator gave."""
    for event in events[index:]:
        if event["type"] == "step.completed" and event.get("step") == path:
            return _output(history, path, event["data"]["attempt"])
    return None


def _resumed(history: Mapping[str, Any], events: list[Any], index: int) -> Any:
    """The input that a run was resumed with: the output of the step that had paused it."""
    for event in events[index + 1 :]:
        if event["type"] != "step.completed":
            return {}
        path = event["step"]
        if history["steps"].get(path, {}).get("type") == "pause":
            return _output(history, path, event["data"]["attempt"])
    return {}


def _output(history: Mapping[str, Any], path: str | None, attempt: int) -> Any:
    tried = history["steps"].get(path, {}).get("attempts", ())
    return next((each["output"] for each in tried if each["attempt"] == attempt), None)


def _error(given: Mapping[str, Any]) -> StepError:
    code = given["code"] if given["code"] in ErrorCode.__members__ else ErrorCode.INTERNAL
    return StepError.of(
        ErrorCode(code), given["message"], transient=given.get("transient"), details=given.get("details")
    )


def _usage(attempt: Mapping[str, Any]) -> Usage:
    tokens = attempt.get("tokens") or {}
    return Usage(
        agent=attempt.get("agent"),
        model=None,  # what was paid is recorded; a price of today may be another
        tokens_in=tokens.get("input"),
        tokens_out=tokens.get("output"),
        cost_microcents=attempt.get("cost_microcents"),
    )
