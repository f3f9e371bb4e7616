"""docs/failures.md against the code: each row names a test that is there, each class is described as it is."""

import ast
import re
from functools import cache

import pytest

from models.errors import NEVER_RETRIED, TRANSIENT, ErrorCode
from orchestrator.core.retry import ON_FAILURE
from tests.support.programs import ROOT

TEXT = (ROOT / "docs/failures.md").read_text()
ROW = re.compile(r"^\| .* \| `(tests/\S+\.py)::(test_\w+)` \|$")
CLASS = re.compile(r"^\| `([A-Z_]+)` \| (yes|no) \| (`on_error`|`on_failure`|never retried) \| .* \|$")


def tables() -> list[list[str]]:
    """The rows of the tables of failures, without heads and rules."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        head, _, *rows = table.splitlines()
        if head.endswith("| test |"):
            found.append(rows)
    return found


@cache
def defined(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_names_one_test_that_is_there() -> None:
    rows = [row for table in tables() for row in table]
    assert len(rows) >= 90
    named = [ROW.match(row) for row in rows]
    assert [row for row, match in zip(rows, named, strict=True) if match is None] == []
    missing = [match[0] for match in named if match and match[2] not in defined(match[1])]
    assert missing == []


def test_no_test_stands_for_two_rows() -> None:
    named = [match[2] for table in tables() for row in table if (match := ROW.match(row))]
    assert sorted(name for name in set(named) if named.count(name) > 1) == []


def test_every_failure_that_has_a_test_of_its_own_has_a_row() -> None:
    own = "tests/services/test_failures.py"
    named = {match[2] for table in tables() for row in table if (match := ROW.match(row)) and match[1] == own}
    assert named == {name for name in defined(own) if name.startswith("test_")}


@pytest.mark.parametrize("code", ErrorCode)
def test_every_class_is_described_as_it_is(code: ErrorCode) -> None:
    (found,) = [match for line in TEXT.splitlines() if (match := CLASS.match(line)) and match[1] == code]
    group = "`on_failure`" if code in ON_FAILURE else "`on_error`"
    assert found[2] == ("yes" if code in TRANSIENT else "no")
    assert found[3] == ("never retried" if code in NEVER_RETRIED else group)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_class_is_met_in_some_row(code: ErrorCode) -> None:
    if code == ErrorCode.FILE_IO:  # of plug-ins alone
        return
    assert any(f"`{code}`" in row for table in tables() for row in table)
