"""What of a replayed run differs from the recorded one."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.testing.outcomes import Call
from orchestrator.testing.run import Run, Step
from orchestrator.testing.score import Act, Score

_IDLE = ("skipped", "pending")
_ENDS = ("step.completed", "step.failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """path: of a step, None of the run. was: in the history, now: with the definition that it was replayed against."""

    path: str | None
    was: Any
    now: Any
    why: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.path or 'the run'}: {self.why}: was {_short(self.was)}, now {_short(self.now)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:200]}…"


def between(
    score: Score, run: Run, unknown: Sequence[Call], refused: Sequence[tuple[Act, str]]
) -> list[Difference]:
    """Every difference, those that others may follow from first."""
    steps = run.steps
    found = [*_unknown(score, unknown), *_refused(refused), *_steps(score.history["steps"], steps)]
    if not found:
        found += _order(score, run)
    return [*found, *_ends(score.history["run"], run)]


def _unknown(score: Score, calls: Sequence[Call]) -> Iterator[Difference]:
    for call in calls:
        was = score.history["steps"].get(call.path)
        why = "this step is new, and no outcome of it is recorded"
        if was is not None:
            why = f"no outcome of its attempt {call.attempt} is recorded"
        status = None if was is None else was["status"]
        yield Difference(path=call.path, was=status, now="would begin", why=why)


def _refused(refused: Sequence[tuple[Act, str]]) -> Iterator[Difference]:
    for act, said in refused:
        yield Difference(path=act.step, was=act.name, now=said, why=f"what {act.by} did is refused now")


def _steps(was: Mapping[str, Any], now: Mapping[str, Step]) -> Iterator[Difference]:
    for path, step in was.items():
        present = now.get(path)
        if present is None:
            if step["status"] not in _IDLE:
                yield Difference(path=path, was=step["status"], now=None, why="there is no such step any more")
        elif step["type"] != present.type:
            yield Difference(path=path, was=step["type"], now=present.type, why="it is of another type")
        elif step["status"] != present.status:
            yield Difference(path=path, was=step["status"], now=present.status, why="it ends otherwise")
        elif step["route"] != present.route:
            yield Difference(path=path, was=step["route"], now=present.route, why="it takes another route")


def _order(score: Score, run: Run) -> Iterator[Difference]:
    """Steps that another step's end now lets begin."""
    events = run.events
    begun = _begun(score.history["events"]) & _begun(events)
    was = _causes(score.history["events"], score, begun)
    now = _causes(events, score, begun)
    for path, cause in was.items():
        if path in now and now[path] != cause:
            yield Difference(path=path, was=cause, now=now[path], why="it begins after another step")


def _begun(events: Sequence[Mapping[str, Any]]) -> set[Any]:
    return {event.get("step") for event in events if event["type"] == "step.started"}


def _causes(
    events: Sequence[Mapping[str, Any]], score: Score, begun: Collection[str]
) -> dict[str, str | None]:
    """By the path of a step that both know, the step beside it whose end came last before it was ready first.

    Ends of inline nodes are no moments of their own: they come with the end of a step that was begun, in both.
    """
    found: dict[str, str | None] = {}
    last: dict[str, str] = {}  # by the branch
    for event in events:
        path = event.get("step")
        if path is None or not score.knows(path):
            continue
        branch = path.rpartition("/")[0]
        if event["type"] == "step.queued":
            found.setdefault(path, last.get(branch))
        elif event["type"] in _ENDS and path in begun:
            last[branch] = path
    return found


def _ends(was: Mapping[str, Any], run: Run) -> Iterator[Difference]:
    if was["status"] != run.status:
        yield Difference(path=None, was=was["status"], now=run.status, why="it ends otherwise")
        return
    codes = [(error or {}).get("code") for error in (was["error"], run.error)]
    if codes[0] != codes[1]:
        yield Difference(path=None, was=codes[0], now=codes[1], why="it ends with another error")
    outputs = _named(run.outputs, run.id, was["id"])
    if was["outputs"] != outputs:
        yield Difference(path=None, was=was["outputs"], now=outputs, why="its outputs are others")


def _named(value: Any, own: str, recorded: str) -> Any:
    """A value with the recorded run's id in the place of this one's."""
    return json.loads(json.dumps(value).replace(own, recorded))
