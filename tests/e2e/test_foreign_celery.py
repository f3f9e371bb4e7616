"""docs/foreign-celery.md, done as it says: its application and its workflow, by real workers of both sides."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import select

from models.database import Database
from models.outbox import Outbox
from orchestrator.core.document import Limits, parse
from orchestrator.services import deps as services
from orchestrator.services import runs
from orchestrator.services.actors import Actor
from orchestrator.settings import Settings
from tests.support import attempts
from tests.support.brokers import EACH_ONCE
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.polling import poll
from tests.support.processes import StartProgram, StartWorker
from tests.support.programs import ROOT, Program
from tests.support.soundness import assert_run_sound

DOC = (ROOT / "docs" / "foreign-celery.md").read_text()
APPLICATION = re.search(r"```python\n(.*?)```", DOC, re.S).group(1)  # type: ignore[union-attr]
WORKFLOW = re.search(r"```yaml\n(.*?)```", DOC, re.S).group(1)  # type: ignore[union-attr]
Foreign = Callable[..., Program]
Begin = Callable[..., str]


@pytest.fixture
def foreign(stack: Settings, tmp_path: Path) -> Iterator[Foreign]:
    """`foreign(SECONDS="9") -> Program`: a worker of the application, which sees nothing of ours."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    (home / "reports.py").write_text(APPLICATION)
    started: list[Program] = []

    def start(**extra: str) -> Program:
        name = f"reports{len(started)}@test"
        places = {"BROKER_URL": stack.broker, "RESULT_BACKEND": stack.results or "", "PYTHONPATH": str(home)}
        plain = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATOR_")}
        command = ["-m", "celery", "-A", "reports", "worker", "-c", "1", "-l", "info", "-n", name]
        worker = Program(command, plain | places | extra, tmp_path / f"{name}.log", home)
        started.append(worker)
        worker.wait_until(f"{name} ready", 30)
        return worker

    yield start
    for worker in started:
        worker.end()


@pytest.fixture
def worker(stack: Settings, workers: StartWorker) -> Program:
    """A worker of ours."""
    return workers(replace(stack, log_level="debug"))  # which names the tasks that it carries


@pytest.fixture
def begin(stack: Settings, worker: Program, programs: StartProgram, tmp_path: Path) -> Begin:
    """`begin(account, timeout=None) -> run id`: our workers are there, and a run of the workflow starts."""
    definition = tmp_path / "monthly-report.json"
    definition.write_text(json.dumps(parse(WORKFLOW, media="yaml", limits=Limits()).data))

    def start(account: str, timeout: float | None = None) -> str:
        overrides = {} if timeout is None else {"overrides": {"nodes": {"report": {"timeout": timeout}}}}
        trigger = json.dumps({"inputs": {"account": account}, **overrides})
        program = programs(
            stack, "-m", "tests.support.starter", str(definition), extra={"STARTER_TRIGGER": trigger}
        )
        program.wait_until("monthly-report ", 30)
        return program.log().split("monthly-report ")[1].split()[0]

    return start


@pytest.fixture
def ours(stack: Settings, database: Database) -> Iterator[Engine]:
    """The rows of the runs, to look at."""
    deps = services.build(stack)
    yield Engine(deps=deps, actor=Actor(workspace_id="", key_id="test", scopes=frozenset(), name="test"))
    deps.close()


def ends(ours: Engine, run_id: str, status: str, limit: float = 30) -> None:
    poll(lambda: ours.row(run_id).status == status, limit, f"the run's end as {status}")
    assert_run_sound(ours.deps, run_id)


def outputs(ours: Engine, run_id: str) -> list[Any]:
    return [attempt.output for attempt in attempts.attempts(ours, run_id, "report")]


@EACH_ONCE
def test_a_worker_of_another_application_does_the_step(
    foreign: Foreign, begin: Begin, ours: Engine, worker: Program
) -> None:
    assert "orchestrator" not in APPLICATION
    assert len([line for line in APPLICATION.splitlines() if line.strip()]) <= 15
    foreign()
    run_id = begin("acme")
    ends(ours, run_id, "success")
    assert outputs(ours, run_id) == [{"account": "acme", "pages": 3, "key": f"{run_id}:report"}]
    assert ours.data(run_id).variables == {"pages": 3}
    worker.wait_until("Task orchestrator.answered[")


@pytest.mark.parametrize(("database_kind", "broker_kind"), [("sqlite", "redis")])
def test_an_exception_leaves_by_the_error_port(foreign: Foreign, begin: Begin, ours: Engine) -> None:
    foreign()
    run_id = begin("nobody")
    ends(ours, run_id, "success")
    assert ours.data(run_id).variables == {"why": "LookupError: there is no account called nobody"}
    (attempt,) = attempts.attempts(ours, run_id, "report")
    assert (attempt.error["code"], attempt.error["transient"]) == ("TOOL_FAILED", True)
    assert attempt.error["details"]["task_id"] == f"{run_id}:report:1"


@pytest.mark.crash
@pytest.mark.parametrize("broker_kind", ["redis"])
def test_a_worker_killed_in_the_middle_is_made_good_by_the_retry_policy(
    foreign: Foreign, begin: Begin, ours: Engine
) -> None:
    doomed = foreign(SECONDS="600")
    run_id = begin("acme", timeout=3.0)
    doomed.wait_until(f"reports.build[{run_id}:report:1] received", 20)
    doomed.kill()
    doomed.end()
    foreign()
    ends(ours, run_id, "success")
    first, second = attempts.attempts(ours, run_id, "report")
    assert (first.error["code"], second.output["account"]) == ("TIMEOUT", "acme")


@pytest.mark.parametrize(("database_kind", "broker_kind"), [("sqlite", "redis")])
def test_the_task_of_an_aborted_run_is_not_begun(foreign: Foreign, begin: Begin, ours: Engine) -> None:
    busy = foreign(SECONDS="8")
    first, second = begin("acme"), begin("umbrella")
    task_id = f"{second}:report:1"
    poll(lambda: ours.statuses(second)["report"] == "waiting", 20, "the second task")
    actor = Actor(workspace_id=workspace(ours, second), key_id="test", scopes=frozenset(), name="test")
    runs.abort(ours.deps, actor, second, "no longer wanted")
    execute(ours, "UPDATE outbox SET due_at = :at", at=attempts.long_ago(ours))
    poll(lambda: stops(ours) == 0, 20, "the stop")
    ends(ours, second, "aborted")
    ends(ours, first, "success")
    busy.wait_until(f"Discarding revoked task: reports.build[{task_id}]")
    with redis.Redis.from_url(ours.deps.settings.results or "") as client:
        stored = poll(lambda: client.get(f"celery-task-meta-{task_id}"), 10, "the revoked task's result")
    assert json.loads(stored)["status"] == "REVOKED"
    assert_run_sound(ours.deps, second)


def stops(ours: Engine) -> int:
    with ours.deps.db.read() as session:
        return len(session.execute(select(Outbox.id)).all())


def workspace(ours: Engine, run_id: str) -> str:
    return ours.row(run_id).workspace_id
