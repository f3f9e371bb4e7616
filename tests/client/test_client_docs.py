"""docs/client.md: its examples run against the real API and print what they say; it names everything public."""

import inspect
import re
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest

import orchestrator.client
from orchestrator.client import Client
from tests.client.conftest import Served
from tests.support.programs import ROOT

TEXT = (ROOT / "docs" / "client.md").read_text()
_NOUNS = (
    *("workflows", "runs", "events", "approvals", "signals", "agents", "gateways", "webhooks", "schedules"),
    *("keys", "workspaces", "costs", "prices", "audit", "hooks"),
)
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PRINTS = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_examples_print_what_they_say(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_URL", served.url)
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", served.key)
    names: dict[str, Any] = {}
    assert len(BLOCKS) == 7
    for block in BLOCKS:
        said = StringIO()
        with redirect_stdout(said):
            exec(block, names)
        assert said.getvalue().splitlines() == PRINTS.findall(block)


def test_every_method_and_error_is_named() -> None:
    client = Client("http://127.0.0.1:9")
    nouns = {name: getattr(client, name) for name in _NOUNS}
    rows = dict(re.findall(r"^\| `client\.(\w+)` \| (.*) \|$", TEXT, re.MULTILINE))
    assert {noun: public(member) for noun, member in nouns.items()} == {
        noun: set(re.findall(r"`(\w+)`", row)) for noun, row in rows.items()
    }
    words = set(re.findall(r"`(\w+)", TEXT))
    assert public(client) - {"close"} <= words
    errors = {name for name, found in vars(orchestrator.client).items() if inspect.isclass(found)}
    assert errors <= words


def public(member: object) -> set[str]:
    return {name for name, _ in inspect.getmembers(member, inspect.ismethod) if not name.startswith("_")}
