"""Agents and their files at the local gateway: spec "gateway" §5."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateways import SCOPES, LocalGateway, RawClient, run_params
from tests.support.polling import poll

Raw = Callable[..., RawClient]
Open = Callable[..., LocalGateway]

FILES = ["AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "BOOTSTRAP.md", "MEMORY.md"]


@pytest.fixture
def strict(gateways: Open) -> LocalGateway:
    return gateways(known_agents_only=True)


@pytest.fixture
def admin(strict: LocalGateway, raw: Raw) -> RawClient:
    client = raw(strict.address)
    client.connect(scopes=["operator.admin"])
    return client


def listed(client: RawClient) -> list[str]:
    return [agent["id"] for agent in client.ask("agents.list", {})["payload"]["agents"]]


def writer(name: str = "w", **more: Any) -> dict[str, Any]:
    return run_params(name, agentId="lead-writer", sessionKey=f"agent:lead-writer:{name}") | more


def test_only_agents_that_exist_are_called(admin: RawClient) -> None:
    error = admin.ask("agent", writer())["error"]
    assert error["message"] == 'invalid agent params: unknown agent id "lead-writer"'
    assert admin.run(run_params("m", agentId="main", sessionKey="agent:main:m"))["ok"]
    missing = admin.ask("agents.files.list", {"agentId": "lead-writer"})["error"]
    assert missing["message"] == 'agent "lead-writer" not found'


def test_by_default_any_name_is_an_agent(raw_client: RawClient) -> None:
    assert raw_client.run(writer())["ok"]
    for name in ("a b", "-x", "ä", "x" * 65):
        odd = run_params("odd", agentId=name, sessionKey="plain")
        assert "unknown agent id" in raw_client.ask("agent", odd)["error"]["message"]


def test_a_created_agent_can_be_called_after_a_while(gateways: Open, raw: Raw) -> None:
    client = raw(gateways(create_delay=0.3).address)
    client.connect(scopes=["operator.admin"])
    made = client.ask("agents.create", {"name": "Lead Writer", "model": "local/x"})["payload"]
    assert (made["ok"], made["agentId"], made["name"], made["model"]) == (
        True,
        "lead-writer",
        "Lead Writer",
        "local/x",
    )
    assert "unknown agent id" in client.ask("agent", writer())["error"]["message"]
    early = {"agentId": "lead-writer", "name": "SOUL.md", "content": "x"}
    assert client.ask("agents.files.set", early)["error"]["message"] == 'agent "lead-writer" not found'
    assert "lead-writer" not in listed(client)
    again = client.ask("agents.create", {"name": "lead writer"})["error"]
    assert (again["code"], again["message"]) == ("INVALID_REQUEST", 'agent "lead-writer" already exists')
    poll(lambda: "lead-writer" in listed(client))
    assert client.run(writer())["ok"]
    assert client.ask("agents.files.set", early)["ok"]


def test_an_agent_outlives_a_restart_and_not_its_deletion(
    strict: LocalGateway, admin: RawClient, raw: Raw
) -> None:
    admin.ask("agents.create", {"name": "lead-writer"})
    poll(lambda: "lead-writer" in listed(admin))
    admin.ask("agents.files.set", {"agentId": "lead-writer", "name": "SOUL.md", "content": "x"})
    strict.restart()
    client = raw(strict.address)
    client.connect(scopes=["operator.admin"])
    assert client.ask("agents.update", {"agentId": "lead-writer", "name": "Poet"})["ok"]
    (entry,) = [
        agent for agent in client.ask("agents.list", {})["payload"]["agents"] if agent["id"] == "lead-writer"
    ]
    assert entry["name"] == "Poet"
    assert client.run(writer())["ok"]
    assert client.ask("agents.delete", {"agentId": "lead-writer"})["payload"]["ok"]
    assert "unknown agent id" in client.ask("agent", writer("later"))["error"]["message"]
    assert strict.file("lead-writer", "SOUL.md") is None
    for method in ("agents.update", "agents.delete"):
        assert "not found" in client.ask(method, {"agentId": "lead-writer"})["error"]["message"]
        assert "built in" in client.ask(method, {"agentId": "main"})["error"]["message"]


@pytest.mark.parametrize("name", ["", "///", "ÄÖ"])
def test_a_name_that_makes_no_id_is_refused(admin: RawClient, name: str) -> None:
    assert admin.ask("agents.create", {"name": name})["error"]["code"] == "INVALID_REQUEST"


def test_files_are_written_and_read(admin: RawClient, strict: LocalGateway) -> None:
    where = {"agentId": "main", "name": "SOUL.md"}
    none = admin.ask("agents.files.get", where)["payload"]["file"]
    assert (none["missing"], "content" in none) == (True, False)
    made = admin.ask("agents.files.set", where | {"content": "I am kind."})["payload"]
    assert made["ok"] is True
    assert made["file"]["hash"] == hashlib.sha256(b"I am kind.").hexdigest()
    read = admin.ask("agents.files.get", where)["payload"]["file"]
    assert (read["content"], read["size"]) == ("I am kind.", 10)
    entries = admin.ask("agents.files.list", {"agentId": "main"})["payload"]["files"]
    assert [entry["name"] for entry in entries] == [name for name in FILES if name != "IDENTITY.md"]
    assert [entry["name"] for entry in entries if not entry["missing"]] == ["SOUL.md"]
    assert not [entry for entry in entries if "content" in entry]
    assert strict.file("main", "SOUL.md") == "I am kind."


@pytest.mark.parametrize("name", ["HEARTBEAT.md", "TOOLS.md", "notes.md", "../SOUL.md", "soul.md"])
def test_other_files_are_refused(admin: RawClient, name: str) -> None:
    for method, more in (("agents.files.get", {}), ("agents.files.set", {"content": "x"})):
        error = admin.ask(method, {"agentId": "main", "name": name} | more)["error"]
        assert (error["code"], error["message"]) == ("INVALID_REQUEST", f'unsupported file "{name}"')
    assert admin.ask("agents.files.delete", {})["error"]["message"] == "unknown method: agents.files.delete"


def test_a_file_that_changed_since_is_not_overwritten(admin: RawClient) -> None:
    where = {"agentId": "main", "name": "USER.md"}
    first = admin.ask("agents.files.set", where | {"content": "one"})["payload"]["file"]["hash"]
    second = admin.ask("agents.files.set", where | {"content": "two", "expectedHash": first})
    assert second["ok"]
    late = admin.ask("agents.files.set", where | {"content": "three", "expectedHash": first})["error"]
    assert late["code"] == "INVALID_REQUEST"
    assert late["details"] == {
        "type": "agent_file_conflict",
        "name": "USER.md",
        "currentHash": second["payload"]["file"]["hash"],
    }
    assert admin.ask("agents.files.get", where)["payload"]["file"]["content"] == "two"


def test_a_run_can_show_what_its_agents_file_said(admin: RawClient) -> None:
    admin.ask("agents.files.set", {"agentId": "main", "name": "MEMORY.md", "content": "It rained."})
    asked = run_params("f", '@gateway {"file": "MEMORY.md"}', agentId="main", sessionKey="agent:main:f")
    assert admin.run(asked)["payload"]["result"]["payloads"][0]["text"] == "It rained."


def test_reading_is_for_readers_and_changing_for_admins(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    client.connect(scopes=SCOPES)
    assert client.ask("agents.files.list", {"agentId": "main"})["ok"]
    for method, params in (
        ("agents.create", {"name": "x"}),
        ("agents.update", {"agentId": "x"}),
        ("agents.delete", {"agentId": "x"}),
        ("agents.files.set", {"agentId": "main", "name": "SOUL.md", "content": ""}),
    ):
        assert client.ask(method, params)["error"]["details"]["missingScope"] == "operator.admin"


def test_models_are_listed(raw_client: RawClient) -> None:
    (model,) = raw_client.ask("models.list", {})["payload"]["models"]
    assert (model["id"], model["provider"]) == ("scripted-1", "local")
