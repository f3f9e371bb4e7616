"""`client.hooks` and `orchestrator hooks` against the real API."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from orchestrator.cli.main import main
from orchestrator.client import Client, Conflict, Invalid, NotFound
from tests.client.conftest import Served

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def call(served: Served, url: str, body: Any, headers: Mapping[str, str] | None = None) -> requests.Response:
    """As another system calls: the address is the hook's, wherever this API is reached."""
    place = f"{served.url}/api/hooks/{url.rpartition('/')[2]}"
    sent = {"Content-Type": "application/json", **(headers or {})}
    return requests.post(place, data=json.dumps(body).encode(), headers=sent, timeout=30)


def test_a_hooks_life(client: Client, served: Served) -> None:
    made = client.hooks.create("in", workflow="triage", scheme="github", mapping={"amount": "{{body.n}}"})
    assert made["secret"] is not None
    assert made["url"] is not None
    with pytest.raises(Conflict):
        client.hooks.create("in", workflow="triage")
    with pytest.raises(Invalid):
        client.hooks.create("other", workflow="triage", mapping={"amount": "{{inputs.n}}"})
    assert call(served, made["url"], {"n": 1}).status_code == 401
    code = hmac.new(made["secret"].encode(), b'{"n": 1}', hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={code}", "X-GitHub-Delivery": "1"}
    answers = [call(served, made["url"], {"n": 1}, headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    run = answers[0].json()["id"]
    assert answers[1].json()["id"] == run
    assert client.runs.wait(run)["inputs"] == {"amount": 1}
    assert client.hooks.update("in", {"name": "out"})["name"] == "out"
    assert [hook["name"] for hook in client.hooks.list()] == ["out"]
    assert client.hooks.delete("out")["id"] == made["id"]
    with pytest.raises(NotFound):
        client.hooks.get("out")


def test_the_command_line_makes_lists_and_deletes(
    client: Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_URL", served.url)
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", served.key)

    def hooks(*args: str, status: int = 0) -> str:
        answer = CliRunner().invoke(main, ["hooks", *args])
        assert answer.exit_code == status, answer.output
        return answer.stdout

    assert "No hooks" in hooks()
    url = hooks("create", "in", "--workflow", "triage", "--map", "amount={{body.n}}").strip()
    assert client.hooks.get("in")["mapping"] == {"amount": "{{body.n}}"}
    assert call(served, url, {"n": 2}).status_code == 202
    hooks("create", "fixed", "--workflow", "triage", "--map", "amount=7")
    assert client.hooks.delete("fixed")["mapping"] == {"amount": 7}
    sends = ("--signal", "go", "--key", "{{body.id}}", "--scheme", "standard-webhooks")
    assert hooks("create", "signals", *sends).splitlines()[1].startswith("whsec_")
    listed = hooks()
    assert "starts triage" in listed
    assert "signals go to {{body.id}}" in listed
    assert [hook["name"] for hook in json.loads(hooks("--json"))] == ["in", "signals"]
    assert hooks("delete", "in") == "in is deleted\n"
    hooks("create", "bad", "--key", "x", status=2)
    hooks("create", "bad", "--workflow", "none", status=1)
