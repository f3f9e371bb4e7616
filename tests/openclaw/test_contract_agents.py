"""Agents and their files: the same from the local gateway and the real one."""

import uuid
from hashlib import sha256
from typing import Any

import pytest

from tests.support.either import Either
from tests.support.gateways import RawClient
from tests.support.polling import poll

ADMIN = ["operator.read", "operator.write", "operator.admin"]
FILES = ["AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "BOOTSTRAP.md", "MEMORY.md"]


def create(client: RawClient) -> str:
    """An agent that is there; its id."""
    name = f"writer-{uuid.uuid4().hex[:8]}"
    answer = client.ask("agents.create", {"name": name})
    assert answer["ok"], answer
    poll(lambda: name in [agent["id"] for agent in agents(client)["agents"]], 20, "the agent")
    return name


def agents(client: RawClient) -> dict[str, Any]:
    return dict(client.ask("agents.list", {})["payload"])


def set_file(client: RawClient, agent: str, name: str, content: str, **more: Any) -> dict[str, Any]:
    return client.ask("agents.files.set", {"agentId": agent, "name": name, "content": content, **more})


def test_the_agents(either: Either) -> None:
    found = agents(either.client())
    assert {"defaultId": "main", "mainKey": "main", "scope": "per-sender"}.items() <= found.items()
    [main] = [agent for agent in found["agents"] if agent["id"] == "main"]
    assert isinstance(main["workspace"], str)
    assert isinstance(main["model"]["primary"], str)


def test_an_agent_is_created_once_by_an_admin(either: Either) -> None:
    name = f"Writer {uuid.uuid4().hex[:8]}"
    error = either.client().ask("agents.create", {"name": name})["error"]
    assert (error["code"], error["details"]["missingScope"]) == ("FORBIDDEN", "operator.admin")
    client = either.client(scopes=ADMIN)
    id_ = name.lower().replace(" ", "-")
    made = client.ask("agents.create", {"name": name})["payload"]
    assert isinstance(made.pop("workspace"), str)
    assert made == {"ok": True, "agentId": id_, "name": name}
    error = client.ask("agents.create", {"name": name})["error"]
    assert error == {"code": "INVALID_REQUEST", "message": f'agent "{id_}" already exists'}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_written_and_read(either: Either, name: str) -> None:
    client = either.client(scopes=ADMIN)
    agent = create(client)
    written = set_file(client, agent, name, "be kind")["payload"]
    assert (written["ok"], written["agentId"]) == (True, agent)
    file = written["file"]
    assert {"name": name, "missing": False, "size": 7, "content": "be kind"}.items() <= file.items()
    assert file["hash"] == sha256(b"be kind").hexdigest()
    read = client.ask("agents.files.get", {"agentId": agent, "name": name})["payload"]
    assert read["file"]["content"] == "be kind"


def test_the_files_of_an_agent(either: Either) -> None:
    """IDENTITY.md can be written, and is not listed."""
    client = either.client(scopes=ADMIN)
    listed = client.ask("agents.files.list", {"agentId": create(client)})["payload"]["files"]
    assert [file["name"] for file in listed] == [name for name in FILES if name != "IDENTITY.md"]
    assert all(isinstance(file["missing"], bool) for file in listed)


@pytest.mark.parametrize("name", ["HEARTBEAT.md", "TOOLS.md", "notes.md"])
def test_other_files_are_refused(either: Either, name: str) -> None:
    error = set_file(either.client(scopes=ADMIN), "main", name, "x")["error"]
    assert error == {"code": "INVALID_REQUEST", "message": f'unsupported file "{name}"'}


def test_a_file_that_has_changed_is_not_overwritten(either: Either) -> None:
    client = either.client(scopes=ADMIN)
    agent = create(client)
    file = set_file(client, agent, "SOUL.md", "one")["payload"]["file"]
    error = set_file(client, agent, "SOUL.md", "two", expectedHash="0" * 64)["error"]
    assert error == {
        "code": "INVALID_REQUEST",
        "message": 'agent file "SOUL.md" changed since it was read',
        "details": {"type": "agent_file_conflict", "name": "SOUL.md", "currentHash": file["hash"]},
    }
    assert set_file(client, agent, "SOUL.md", "two", expectedHash=file["hash"])["ok"]


def test_an_agent_that_is_not_there(either: Either) -> None:
    client = either.client(scopes=ADMIN)
    error = client.ask("agents.files.get", {"agentId": "nobody", "name": "SOUL.md"})["error"]
    assert error == {"code": "INVALID_REQUEST", "message": 'agent "nobody" not found'}
    params = either.params(f"run-{uuid.uuid4().hex[:8]}") | {"agentId": "nobody", "sessionKey": "agent:nobody:x"}
    error = client.ask("agent", params)["error"]
    assert error == {"code": "INVALID_REQUEST", "message": 'invalid agent params: unknown agent id "nobody"'}
