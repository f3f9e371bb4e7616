"""A test as data: mocks, and what people do, one after another. What `POST /api/workflows/{workflow}/test` takes.

mocks: {node: value | {"output", "after"?, "cost_cents"?, …} | {"error": {code, message?, transient?, details?},
"after"?} | {"outputs": [one an attempt]}}. script: [{"after"?: duration, one of `approve reject signal resume pause
abort retry skip complete rerun variables`: a step or what it takes, and its further members}].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from models.errors import InvalidError, OrchestratorError, Problem
from orchestrator.testing.clock import span
from orchestrator.testing.env import Env
from orchestrator.testing.outcomes import Done, Fail
from orchestrator.testing.run import Run

_DONE = {field.name for field in fields(Done)}
_ERROR = {"code", "message", "transient", "details"}


def mock_of(given: Any, pointer: str) -> Any:
    """A mock of its JSON form. Raises InvalidError."""
    if not isinstance(given, dict):
        return given
    if set(given) == {"outputs"} and isinstance(given["outputs"], list):
        if not given["outputs"]:
            raise refused(f"{pointer}/outputs", "outputs has one outcome an attempt; give one at least")
        return [mock_of(each, f"{pointer}/outputs/{at}") for at, each in enumerate(given["outputs"])]
    try:
        return _timed(_outcome(given))
    except (TypeError, ValueError) as error:
        raise refused(pointer, str(error)) from error


def _outcome(given: dict[str, Any]) -> Any:
    """Done or Fail where an object says so; else it is the value itself."""
    error = given.get("error")
    if isinstance(error, dict) and "code" in error and set(given) <= {"error", "after", "cost_cents"}:
        unknown = ", ".join(sorted(set(error) - _ERROR))
        if unknown:
            raise ValueError(f"error takes {', '.join(sorted(_ERROR))}, and no {unknown}")
        return Fail(**error, after=given.get("after"), cost_cents=given.get("cost_cents"))
    return Done(**given) if "output" in given and set(given) <= _DONE else given


def _timed(mock: Any) -> Any:
    if isinstance(mock, Done | Fail) and mock.after is not None:
        span(mock.after)
    return mock


def refused(pointer: str, message: str) -> InvalidError:
    """An error of one place in what was sent."""
    return InvalidError(message, [Problem(pointer=pointer, code="INVALID_VALUE", message=message)])


_Act = Callable[[Run, Any, dict[str, Any]], object]
_ACTS: Mapping[str, tuple[_Act, frozenset[str]]] = {
    "approve": (lambda run, step, more: run.approve(step, **more), frozenset({"data", "comment", "by"})),
    "reject": (lambda run, step, more: run.reject(step, **more), frozenset({"data", "comment", "by"})),
    "signal": (lambda run, name, more: _signal(run, name, more), frozenset({"data", "id", "key", "by"})),
    "resume": (lambda run, given, more: run.resume(given, **more), frozenset({"limit_cents", "by"})),
    "pause": (lambda run, reason, more: run.pause(reason, **more), frozenset({"by"})),
    "abort": (lambda run, reason, more: run.abort(reason, **more), frozenset({"by", "compensate"})),
    "retry": (lambda run, step, more: run.retry(step, **more), frozenset({"reason", "limit_cents", "by"})),
    "skip": (lambda run, step, more: run.skip(step, **more), frozenset({"reason", "limit_cents", "by"})),
    "rerun": (lambda run, step, more: run.rerun(step, **more), frozenset({"reason", "limit_cents", "by"})),
    "complete": (
        lambda run, step, more: run.complete(step, more.pop("output", None), **more),
        frozenset({"output", "reason", "limit_cents", "by"}),
    ),
    "variables": (lambda run, values, more: run.set(values, **more), frozenset({"reason", "by"})),
}
_OBJECTS = ("resume", "variables")


def _signal(run: Run, name: str, more: dict[str, Any]) -> None:
    key = more.pop("key", None)
    if key is None:
        run.signal(name, **more)
    else:
        run.env.signal(name, key, **more)


def check(script: Sequence[Any]) -> None:
    """Raises InvalidError for an entry that is none, before anything is run."""
    for at, entry in enumerate(script):
        _parts(entry, f"/script/{at}")


def _parts(entry: Any, pointer: str) -> tuple[str | None, float]:
    """The act of an entry, and the seconds before it. Raises InvalidError."""
    if not isinstance(entry, dict):
        raise refused(pointer, 'an entry is an object such as {"after": "2d", "approve": "review"}')
    acts = [name for name in entry if name in _ACTS]
    if len(acts) > 1 or (not acts and "after" not in entry):
        raise refused(pointer, f"an entry has one act of {', '.join(_ACTS)}, or `after` alone")
    name = acts[0] if acts else None
    known = frozenset() if name is None else _ACTS[name][1]
    for member in set(entry) - {"after", name} - known:
        raise refused(f"{pointer}/{member}", f"{name or 'after'} takes no {member}")
    if name is not None and not isinstance(entry[name], dict if name in _OBJECTS else str):
        raise refused(f"{pointer}/{name}", f"{name} takes {'an object' if name in _OBJECTS else 'a string'}")
    try:
        return name, span(entry.get("after", 0))
    except ValueError as error:
        raise refused(f"{pointer}/after", str(error)) from error


def play(env: Env, run: Run, script: Sequence[dict[str, Any]]) -> None:
    """Carry the script out. Raises InvalidError where the engine refuses an act, as it would refuse it then."""
    for at, entry in enumerate(script):
        name, seconds = _parts(entry, f"/script/{at}")
        if "after" in entry:
            env.skip(seconds)
        if name is None:
            continue
        more = {key: value for key, value in entry.items() if key not in ("after", name)}
        try:
            _ACTS[name][0](run, entry[name], more)
        except InvalidError:
            raise
        except (OrchestratorError, AssertionError, TypeError) as error:
            raise refused(f"/script/{at}/{name}", str(error)) from error
