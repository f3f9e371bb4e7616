"""What a user can set, call, see or meet stands in the documentation, by its name."""

import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest

from beat_schedule import SWEEPS
from models.database import Database
from models.errors import ErrorCode
from orchestrator.registry import BUILT_IN
from orchestrator.services.fsck_record import INVARIANTS
from orchestrator.settings import Settings
from tests.support import engine
from tests.support.programs import ROOT

EVENT = re.compile(r'"((?:run|step|variable|override|stream|checkpoint)\.[a-z_]+)"')
NO_EVENTS = {"run.id"}  # a name of expressions
CODE = re.compile(r'\bcode\s*=\s*"([A-Z][A-Z_]+)"')


@pytest.fixture(scope="module")
def docs() -> str:
    return "\n".join(path.read_text() for path in [*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md")])


def source() -> str:
    paths = [
        path for top in ("models", "orchestrator", "tasks", "api") for path in (ROOT / top).rglob("*.py")
    ]
    return "\n".join(Path(path).read_text() for path in paths)


def undocumented(names: Iterable[str], docs: str) -> list[str]:
    """The names that do not stand in the documentation as words of their own."""
    return sorted(name for name in set(names) if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])", docs))


def test_every_setting(docs: str) -> None:
    names = [field.name.upper() for field in fields(Settings)]
    assert undocumented(names, docs.replace("ORCHESTRATOR_", "")) == []


def test_every_node_type(docs: str) -> None:
    assert undocumented((f"`{name}`" for name in BUILT_IN), docs) == []


def test_every_error_code(docs: str) -> None:
    codes = {code.value for code in ErrorCode} | set(CODE.findall(source()))
    assert len(codes) > 25
    assert undocumented(codes, docs) == []


def test_every_event_type(docs: str) -> None:
    types = set(EVENT.findall(source())) - NO_EVENTS
    assert {"run.created", "step.completed", "variable.set"} <= types
    assert undocumented(types, docs) == []


def test_every_sweep(docs: str) -> None:
    assert undocumented((f"`{name}`" for name in SWEEPS), docs) == []


def test_every_invariant(docs: str) -> None:
    assert [number for number, sentence in INVARIANTS.items() if sentence not in docs] == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_every_endpoint(database: Database, docs: str) -> None:
    from api.app import create_app

    app = create_app(engine.make(database).deps, send=lambda _effects: None, broker_answers=lambda: True)
    rules = {re.sub(r"<[^>]*>", "{}", rule.rule) for rule in app.url_map.iter_rules()}
    assert "/api/workflows/{}/runs" in rules
    plain = re.sub(r"\{[^}\n]*\}", "{}", docs)
    missing = [rule for rule in rules if not re.search(rf"{re.escape(rule)}(?![\w/{{])", plain)]
    assert sorted(missing) == []
