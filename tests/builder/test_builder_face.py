"""The public face names the builder and imports it only when it is used."""

import subprocess
import sys

import pytest

import orchestrator
from tests.support.programs import ROOT

LIGHT = """
import sys
import orchestrator
assert "Workflow" in orchestrator.__all__
assert not [name for name in sys.modules if name.startswith("orchestrator.")]
from orchestrator import Workflow
Workflow("x").noop("a")
heavy = {"networkx", "cel_expr_python", "jsonata", "ruamel.yaml", "sqlalchemy", "requests", "orchestrator.registry"}
assert not heavy & set(sys.modules)
"""


def test_what_is_not_used_is_not_imported() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, check=True)


def test_an_unknown_name_is_one_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Wrokflow'"):
        _ = orchestrator.Wrokflow  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="Wrokflow"):
        exec("from orchestrator import Wrokflow")
