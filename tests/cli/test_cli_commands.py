"""The command line as people meet it: exit codes, sentences, what works with no server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.main import main

VALID = """\
name: hello
nodes:
  - {id: one, type: noop}
  - {id: two, type: set, values: {greeting: "hello {{inputs.name?}}"}}
edges: [one >> two]
"""
INVALID = """\
name: Hello
nodes:
  - id: one
    type: nope
edges: [{from: one, to: three}]
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ORCHESTRATOR_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "valid.yaml").write_text(VALID)
    (tmp_path / "invalid.yaml").write_text(INVALID)

    def invoke(*args: str, text: str | None = None) -> Result:
        return CliRunner().invoke(main, args, input=text)

    return invoke


def test_a_valid_file_ends_with_0_and_tells_its_class_and_cost(run: Run) -> None:
    answer = run("validate", "valid.yaml")
    assert answer.exit_code == 0, answer.output
    assert "valid.yaml is valid" in answer.output
    assert "class short" in answer.output
    assert "0 cents" in answer.output


def test_an_invalid_file_ends_with_1_and_shows_every_problem_with_its_line(run: Run) -> None:
    answer = run("validate", "invalid.yaml", "--json")
    assert answer.exit_code == 1
    told = json.loads(answer.stdout)
    assert told["valid"] is False
    found = {(error["pointer"], error["code"], error["line"]) for error in told["errors"]}
    assert ("/name", "INVALID_NAME", 1) in found
    assert ("/nodes/0/type", "UNSUPPORTED_NODE_TYPE", 4) in found
    assert any(pointer.startswith("/edges/0") and code == "DANGLING_EDGE" for pointer, code, _ in found)
    assert "UNSUPPORTED_NODE_TYPE" in run("validate", "invalid.yaml").stdout


def test_no_yaml_at_all_is_one_problem(run: Run) -> None:
    answer = run("validate", "-", "--json", text="a: [")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["errors"][0]["code"] == "MALFORMED"


def test_a_definition_is_drawn_with_no_server(run: Run) -> None:
    answer = run("mermaid", "valid.yaml")
    assert answer.exit_code == 0, answer.output
    assert "one" in answer.stdout
    assert "-->" in answer.stdout


@pytest.mark.parametrize(
    "args",
    [["nope"], ["runs", "--status", "nope"], ["validate", "/no/such/file"]],
)
def test_misuse_ends_with_2(run: Run, args: list[str]) -> None:
    assert run(*args).exit_code == 2


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ORCHESTRATOR_LEASE_SECOND", "3", "ORCHESTRATOR_LEASE_SECOND is no setting"),
        ("ORCHESTRATOR_MAX_NODES", "many", "ORCHESTRATOR_MAX_NODES='many' is not allowed"),
        ("ORCHESTRATOR_SECRET_KEY", "short", "(hidden)"),
    ],
)
def test_a_bad_setting_ends_with_2_and_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    answer = run("up")
    assert answer.exit_code == 2
    assert sentence in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_no_server_ends_with_1_and_the_remedy(run: Run) -> None:
    answer = run("runs")
    assert answer.exit_code == 1
    assert "orchestrator up" in answer.stderr


@pytest.mark.parametrize("name", ["up", "worker", "beat", "api", "demo", "keys", "db", "workflows"])
def test_every_command_explains_itself(run: Run, name: str) -> None:
    answer = run(name, "--help")
    assert answer.exit_code == 0
    assert "Usage:" in answer.output


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from orchestrator.cli.main import main; main(['--help'], standalone_mode=False);"
        "print([m for m in ('celery', 'sqlalchemy', 'rich', 'requests', 'flask') if m in sys.modules])"
    )
    took = []
    for _ in range(3):
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        took.append(time.monotonic() - began)
    assert done.stdout.splitlines()[-1] == "[]"
    assert min(took) < 1.0  # 0.2 s on a quiet machine
    for command in ("up", "run", "demo", "doctor", "fsck", "keys"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--queues", "steps,a b"), "'a b' is no queue; write 1 to 64"),
        (("--queues", "steps,"), "'' is no queue"),
    ],
)
def test_a_worker_that_could_not_work_is_refused(run: Run, given: tuple[str, str], said: str) -> None:
    answer = run("worker", *given)
    assert answer.exit_code == 2
    assert said in answer.output


def test_a_pool_that_is_not_installed_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gevent", None)
    answer = run("worker", "--pool", "gevent")
    assert answer.exit_code == 2
    assert "gevent is not installed; pip install gevent" in answer.output


def test_celery_by_itself_refuses_a_wrong_setting_with_one_sentence() -> None:
    celery = [sys.executable, "-m", "celery", "-A", "tasks.app", "worker"]
    wrong = {**os.environ, "ORCHESTRATOR_LEASE_SECONDS": "long"}
    ended = subprocess.run(celery, env=wrong, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines() == [
        "ORCHESTRATOR_LEASE_SECONDS='long' is not allowed: write a number from 1 to 3600"
    ]
