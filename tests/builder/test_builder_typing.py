"""Type checkers see the builder: mypy --strict takes what is right and finds what is wrong."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROOT

SAMPLES = Path(__file__).parent / "typing_samples"
FOUND = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$", re.MULTILINE)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, str]]:
    """mypy's errors, by file name and line."""
    files = [*SAMPLES.glob("*.py"), *(ROOT / "examples").glob("*.py")]
    cache = tmp_path_factory.mktemp("mypy")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    errors: dict[str, dict[int, str]] = {path.name: {} for path in files}
    for match in FOUND.finditer(ran.stdout):
        errors[Path(match["file"]).name][int(match["line"])] = match["code"]
    return errors


def test_what_is_right_is_taken(found: dict[str, dict[int, str]]) -> None:
    assert {name: errors for name, errors in found.items() if name != "refused.py"} == {
        "accepted.py": {},
        "outside.py": {},
        "lead_qualification.py": {},
    }


def test_each_mistake_is_found_where_it_is(found: dict[str, dict[int, str]]) -> None:
    lines = enumerate((SAMPLES / "refused.py").read_text().splitlines(), start=1)
    wanted = {no: line.partition("# refused: ")[2] for no, line in lines if "# refused: " in line}
    assert len(wanted) > 15
    assert found["refused.py"] == wanted


def test_what_is_taken_runs() -> None:
    workflow = runpy.run_path(str(SAMPLES / "accepted.py"))["workflow"]
    assert len(workflow.to_dict()["nodes"]) == 12
