"""Tests for others: each in a process of its own, with bounds, no secrets and no way out.

An expression can hold Python's one lock for longer than an API may be silent, and a test is run for whoever may
define workflows: so it is not run in the API's process (docs/decisions/0036).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from models.errors import InvalidError, Problem, UnavailableError
from orchestrator.services import versions, workflows
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.settings import Settings
from orchestrator.testing import ground

AT_ONCE = 2
SECONDS, STEPS = 10.0, 1_000
_STARTS = 30.0  # seconds in which a process begins and ends, of which a test counts none
_LIMITS = (
    *("max_body_bytes", "max_output_bytes", "max_nodes", "max_depth", "max_call_depth"),
    *("max_nesting", "max_items"),
)
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "HOME")
_places = threading.BoundedSemaphore(AT_ONCE)


def carry_out(deps: Deps, actor: Actor, workflow: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Run a workflow of the workspace with mocks, or replay a history against it. Stores nothing.

    body: as POST /api/workflows/{workflow}/test takes it. Raises NotFoundError, InvalidError (what was sent, or more
    than a test may do), UnavailableError (other tests take all places).
    """
    stored = "definition" not in body
    definition = _definition(deps, actor, workflow, body.get("version")) if stored else body["definition"]
    asked = {key: value for key, value in body.items() if key != "version"}
    asked |= {
        "definition": definition,
        "stored": stored,
        "environ": {name: f"<{name}>" for name in deps.settings.env_allow},
        "limits": {name: getattr(deps.settings, name) for name in _LIMITS},
        "seconds": SECONDS,
        "steps": STEPS,
    }
    if not _places.acquire(timeout=SECONDS):
        raise UnavailableError(f"{AT_ONCE} tests are running here; try again when one of them has ended", 5.0)
    try:
        answer = _answered(asked, deps.settings)
    finally:
        _places.release()
    return _taken(answer)


def _definition(deps: Deps, actor: Actor, workflow: str, version: int | None) -> Any:
    if version is not None:
        return versions.get(deps, actor, workflow, version)["definition"]
    return workflows.get(deps, actor, workflow)["definition"]


def _answered(asked: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    folder = tempfile.mkdtemp(prefix="orchestrator-testing-")
    environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environ |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "TMPDIR": folder}
    try:
        done = subprocess.run(  # noqa: S603 - our own module, with no argument of anybody's
            [sys.executable, "-m", "orchestrator.testing", str(ground.template())],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=SECONDS + _STARTS,
            env=environ,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_much(f"it took more than {SECONDS:g} s") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode != 0:
        raise _too_much("it took more memory or time than a test may have")
    if len(done.stdout) > 8 * settings.max_body_bytes:
        raise _too_much(f"its answer has {len(done.stdout)} bytes")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _too_much(what: str) -> InvalidError:
    return InvalidError(f"the test was ended: {what}; test less of the workflow at once, or use the test kit")


def _taken(answer: dict[str, Any]) -> dict[str, Any]:
    refused = answer.get("refused")
    if refused is None:
        return answer
    problems = [Problem(**each) for each in refused["problems"]]
    raise InvalidError(refused["message"], problems, code=refused["code"])
