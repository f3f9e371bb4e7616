"""Python files wherever the command line takes a definition: run here, the one workflow taken, every mistake told."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.main import main

ONE = """\
print("building")
from orchestrator import Workflow
flow = Workflow("hello")
flow.noop("one") >> flow.noop("two")
alias = flow
"""
TWO = """\
from orchestrator import Workflow
first, second = Workflow("first"), Workflow("second")
first.noop("a")
second.noop("b")
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def invoke(source: str, *args: str, file: str = "flow.py") -> Result:
        Path(file.partition(":")[0]).write_text(source)
        return CliRunner().invoke(main, [args[0], file, *args[1:]])

    return invoke


def problems(answer: Result) -> list[dict[str, Any]]:
    assert answer.exit_code == 1, answer.output
    found: list[dict[str, Any]] = json.loads(answer.stdout)["errors"]
    return found


def problem(answer: Result) -> tuple[int | None, str]:
    (found,) = problems(answer)
    assert (found["pointer"], found["code"]) == ("", "MALFORMED")
    return found["line"], found["message"]


def test_the_only_workflow_of_a_file_is_taken(run: Run) -> None:
    answer = run(ONE, "validate")
    assert answer.exit_code == 0, answer.output
    assert "flow.py is valid" in answer.stdout
    assert "one --> two" in run(ONE, "mermaid").stdout


def test_what_the_file_prints_is_kept_out_of_the_output(run: Run) -> None:
    answer = run(ONE, "validate", "--json")
    assert json.loads(answer.stdout)["valid"] is True
    assert "building" in answer.stderr


def test_one_of_several_is_named_behind_a_colon(run: Run) -> None:
    assert "a" in run(TWO, "mermaid", file="flow.py:first").stdout
    assert run(TWO, "validate", file="flow.py:second").exit_code == 0


@pytest.mark.parametrize(
    ("source", "file", "message"),
    [
        (TWO, "flow.py", "makes 2 workflows: first, second; name one, as flow.py:first"),
        (TWO, "flow.py:third", "no Workflow of the name third; it makes first, second"),
        ("x = 1", "flow.py", "makes no Workflow at module level"),
        ("x = 1", "flow.py:x", "no Workflow of the name x; it makes none"),
        ("from orchestrator import Workflow\ndef make():\n    return Workflow('x')", "flow.py", "makes no Workflow"),
    ],
)
def test_none_or_several_are_told_by_name(run: Run, source: str, file: str, message: str) -> None:
    assert message in problem(run(source, "validate", "--json", file=file))[1]


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("x = 1\nx.y", 2, "ended with AttributeError: 'int' object has no attribute 'y'; python flow.py shows where"),
        ("x = 1\ny = (", 2, "ended with SyntaxError"),
        ("import json\njson.loads('{')", 2, "ended with JSONDecodeError"),
        ("import sys\nsys.exit(3)", 2, "ended with SystemExit: 3"),
        ("import orchestrator\norchestrator.Nope", 2, "has no attribute 'Nope'"),
        ("from orchestrator import Workflow\n\nWorkflow('x').noop('a') >> []", 3, "an empty list joins nothing"),
    ],
)
def test_a_file_that_cannot_be_run_is_told_with_its_line(run: Run, source: str, line: int, message: str) -> None:
    told = problem(run(source, "validate", "--json"))
    assert told[0] == line
    assert message in told[1]


def test_problems_of_the_definition_keep_their_pointers(run: Run) -> None:
    source = "from orchestrator import Workflow\nw = Workflow('x', variables={'a': float('nan')})\nw.noop('a')"
    assert [found["pointer"] for found in problems(run(source, "validate", "--json"))] == ["/variables/a"]
    source = "from orchestrator import Workflow\nw = Workflow('X')\nw.noop('a', fallback='b')"
    found = {(each["pointer"], each["code"]) for each in problems(run(source, "validate", "--json"))}
    assert found == {("/name", "INVALID_NAME"), ("/nodes/0/fallback", "DANGLING_EDGE")}


def test_a_problem_found_while_the_file_runs_has_its_line(run: Run) -> None:
    source = "from orchestrator import Workflow\na = Workflow('a').noop('n')\na >> Workflow('b').noop('n')"
    (found,) = problems(run(source, "validate", "--json"))
    assert (found["line"], found["pointer"], found["code"]) == (3, "/edges/0", "DANGLING_EDGE")


def test_neighbours_can_be_imported_and_nothing_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shared_steps_of_test.py").write_text("def add(flow):\n    return flow.noop('shared')\n")
    before = list(sys.path)
    source = f"import shared_steps_of_test\n{ONE}\nshared_steps_of_test.add(flow)"
    assert "shared" in run(source, "mermaid").stdout
    assert sys.path == before
    del sys.modules["shared_steps_of_test"]


def test_a_file_that_does_not_exist_is_misuse(run: Run) -> None:
    answer = CliRunner().invoke(main, ["validate", "absent.py:flow"])
    assert answer.exit_code == 2
    assert "absent.py" in answer.output


def test_the_main_part_of_a_script_is_not_run(run: Run) -> None:
    source = f"{ONE}\nif __name__ == '__main__':\n    raise RuntimeError\n"
    assert run(source, "validate").exit_code == 0
