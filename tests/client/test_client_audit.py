"""`client.audit` and `orchestrator audit` against the real API."""

import json

import pytest
from click.testing import CliRunner

from orchestrator.cli.main import main
from orchestrator.client import Client
from tests.client.conftest import Served

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def test_acts_are_listed_and_exported(client: Client) -> None:
    client.prices.set("local", input_cents=1, output_cents=2)
    client.prices.remove("local")
    removed, made = client.audit.list(target="price:local")
    assert (made["action"], removed["action"]) == ("price.set", "price.delete")
    assert {"field": "input_cents_per_million", "from": None, "to": 1} in made["changes"]
    assert [json.loads(line) for line in client.audit.export(action="price.*").splitlines()] == [removed, made]
    assert client.audit.export("csv", action="price.*").startswith("id,at,actor,")


def test_the_command_line_shows_who_did_what(
    client: Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_URL", served.url)
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", served.key)
    run = client.runs.start("triage", {"amount": 1}, hold=30)["id"]
    client.runs.checkpoint(run, "here", reason="to be safe")

    def audit(*args: str) -> str:
        answer = CliRunner().invoke(main, ["audit", *args])
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    assert "to be safe" in audit("--action", "checkpoint.*")
    assert json.loads(audit("--target", f"run:{run}", "--json"))[0]["action"] == "run.create"
    assert audit("--export", "csv", "--actor", "nobody").splitlines()[1:] == []
    assert audit("--actor", "nobody") == "Nobody did anything that fits.\n"
