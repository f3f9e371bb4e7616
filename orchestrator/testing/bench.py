"""One test of a workflow, all of it data: what it is asked, and what came of it. Carried out in a process of its own.

Asked: {definition, inputs, variables, mocks, script, history, limits, environ, seconds, steps}. The answer is what
`POST /api/workflows/{workflow}/test` answers, or {"refused": {message, code, problems}}.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import InvalidError, OrchestratorError
from orchestrator.core import history as histories
from orchestrator.services import run_views
from orchestrator.testing import script
from orchestrator.testing.clock import instant
from orchestrator.testing.env import START, Env
from orchestrator.testing.errors import BrokenError, EndlessError
from orchestrator.testing.replay import replay_in
from orchestrator.testing.run import pages

Asked = Mapping[str, Any]
_ENGINES = "the engine broke an invariant in this test, which is a defect of it; report it with the definition"


def carry_out(asked: Asked, template: Path | None = None) -> dict[str, Any]:
    """The answer to a test, refused ones too."""
    try:
        history = None if asked.get("history") is None else _history(asked["history"])
        return _tested(asked, template) if history is None else _replayed(asked, history, template)
    except InvalidError as error:
        problems = [_problem(each, asked) for each in error.problems]
        return {"refused": {"message": str(error), "code": error.code, "problems": problems}}
    except BrokenError as error:
        return {"refused": {"message": f"{_ENGINES}: {error}", "code": "INVALID", "problems": []}}
    except (OrchestratorError, EndlessError, ValueError) as error:
        return {"refused": {"message": str(error), "code": "INVALID", "problems": []}}


def _history(given: Any) -> dict[str, Any]:
    sound = histories.check(given)
    instant(sound["run"]["created_at"])
    return sound


def _problem(problem: Any, asked: Asked) -> dict[str, Any]:
    """A problem with its pointer into what was sent: those of a definition lie below /definition."""
    outside = ("/inputs", "/mocks", "/script", "/history", "/data", "/input", "/output", "/overrides")
    of_definition = not problem.pointer.startswith(outside) or problem.pointer.startswith("/outputs")
    prefix = "/definition" if of_definition and not asked.get("stored") else ""
    return {"pointer": f"{prefix}{problem.pointer}", "code": problem.code, "message": problem.message}


def _open(asked: Asked, template: Path | None, start: Any, *, auto_skip: bool) -> Env:
    env = Env(start=start, auto_skip=auto_skip, environ=asked.get("environ"), **asked.get("limits", {}))
    env.open(template, most_steps=asked.get("steps", 1_000))
    env.hand.deadline = time.monotonic() + asked.get("seconds", 10.0)
    env.deps.cast.parks_unmocked = True
    env.deps.cast.outside.add("subworkflow")
    return env


def _tested(asked: Asked, template: Path | None) -> dict[str, Any]:
    steps = asked.get("script") or []
    script.check(steps)
    env = _open(asked, template, START, auto_skip=True)
    try:
        for name, given in (asked.get("mocks") or {}).items():
            env.mock(name, script.mock_of(given, f"/mocks/{name}"))
        variables = asked.get("variables") or {}
        run = env.run(asked["definition"], asked.get("inputs") or {}, variables=variables)
        script.play(env, run, steps)
        env.check()
        view = run_views.run(env.deps, env.actor(), run.id)
        return {
            "status": view["status"],
            "outputs": view["outputs"],
            "error": view["error"],
            "waiting": run.waiting,
            "steps": pages(lambda request: run_views.steps(env.deps, env.actor(), run.id, request)),
            "events": run.events,
            "unmocked": list(dict.fromkeys(call.path for call in env.deps.cast.unmocked)),
            "elapsed_virtual_seconds": round(env.elapsed, 3),
        }
    except AssertionError as error:
        if isinstance(error, BrokenError | EndlessError):
            raise
        raise script.refused("/mocks", str(error)) from error
    finally:
        env.close()


def _replayed(asked: Asked, history: dict[str, Any], template: Path | None) -> dict[str, Any]:
    env = _open(asked, template, history["run"]["created_at"], auto_skip=False)
    try:
        replayed = replay_in(env, history, asked["definition"])
        env.check()
    finally:
        env.close()
    return {
        "same": replayed.same,
        "differences": [found.to_json() for found in replayed.differences],
        "status": replayed.status,
        "outputs": replayed.outputs,
    }
