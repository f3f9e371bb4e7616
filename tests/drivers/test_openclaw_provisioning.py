"""The OpenClaw driver: agents are made where they are missing, their files written where they differ."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from models.errors import ConflictError, InvalidError, UnavailableError
from orchestrator.bridge import Sent
from tests.support.driving import Drive, Driver, output, work
from tests.support.gateways import SCOPES, LocalGateway, OddPeer, answer, hello_ok

FILES = {"SOUL.md": "calm", "AGENTS.md": "one\ntwo"}
ADMIN = hello_ok() | {"auth": {"scopes": [*SCOPES, "operator.admin"]}}


def provision(driver: Driver, agent: str, files: dict[str, str]) -> None:
    driver.gateway.provision(driver.endpoint, agent, files)


def test_an_agent_is_made_and_given_its_files(driver: Driver, local_gateway: LocalGateway) -> None:
    provision(driver, "writer", FILES)
    assert {name: local_gateway.file("writer", name) for name in FILES} == FILES
    assert "writer" in (driver.gateway.ping(driver.endpoint, 2.0).agents or ())
    provision(driver, "writer", FILES | {"SOUL.md": "calmer"})
    assert local_gateway.file("writer", "SOUL.md") == "calmer"


def test_a_made_agent_can_be_asked_at_once(gateways: Callable[..., LocalGateway], drive: Drive) -> None:
    gateway = gateways(create_delay=0.5, known_agents_only=True)
    driver = drive(gateway.address)
    provision(driver, "writer", FILES)
    sent = Sent(agent="writer", session_key="agent:writer:wf-x", key="run:x:1")
    assert output(driver.dispatch(work("x", '{"file": "SOUL.md"}', sent=sent)))["text"] == "calm"


@pytest.mark.parametrize("name", ["HEARTBEAT.md", "TOOLS.md", "notes.md", "soul.md", "../SOUL.md"])
def test_other_files_than_an_agent_has_are_refused(driver: Driver, name: str) -> None:
    with pytest.raises(InvalidError) as refused:
        provision(driver, "writer", {name: "x"})
    assert name in str(refused.value)
    assert "MEMORY.md" in str(refused.value)


def test_a_name_that_gives_another_id_is_refused(driver: Driver) -> None:
    with pytest.raises(InvalidError, match="lower-case letters"):
        provision(driver, "two words", FILES)


class Desk:
    """A gateway of one agent whose files somebody else writes too."""

    def __init__(self, conflicts: int) -> None:
        self.conflicts = conflicts
        self.content = "theirs"
        self.asked: list[str] = []

    def talk(self, socket: ServerConnection, request: dict[str, Any]) -> None:
        method, params = request["method"], request["params"]
        self.asked.append(method)
        if method == "agents.list":
            answer(socket, request, {"agents": [{"id": "writer"}]})
        elif method == "agents.files.get":
            answer(socket, request, {"file": {"name": params["name"], "content": self.content, "hash": "h"}})
        elif self.conflicts:
            self.conflicts -= 1
            assert params["expectedHash"] == "h"
            refuse(socket, request, "INVALID_REQUEST", {"type": "agent_file_conflict", "currentHash": "i"})
        else:
            self.content = params["content"]
            answer(socket, request, {"ok": True})


def refuse(socket: ServerConnection, request: dict[str, Any], code: str, details: dict[str, Any]) -> None:
    error = {"code": code, "message": f"{code} as scripted", "details": details}
    socket.send(json.dumps({"type": "res", "id": request["id"], "ok": False, "error": error}))


def test_what_is_there_already_is_not_written(odd_peer: Callable[..., OddPeer], drive: Drive) -> None:
    desk = Desk(0)
    provision(drive(odd_peer(desk.talk, hello=ADMIN).address), "writer", {"SOUL.md": "theirs"})
    assert desk.asked == ["agents.list", "agents.files.get"]


def test_a_conflict_is_tried_once_more(odd_peer: Callable[..., OddPeer], drive: Drive) -> None:
    desk = Desk(1)
    provision(drive(odd_peer(desk.talk, hello=ADMIN).address), "writer", {"SOUL.md": "ours"})
    assert desk.content == "ours"
    with pytest.raises(ConflictError, match="changed by somebody else"):
        provision(drive(odd_peer(Desk(2).talk, hello=ADMIN).address), "writer", {"SOUL.md": "ours"})


def test_a_token_without_admin_is_named(odd_peer: Callable[..., OddPeer], drive: Drive) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        refuse(socket, request, "FORBIDDEN", {"code": "MISSING_SCOPE"})

    for hello in (hello_ok(), ADMIN):  # told at the door, or at the desk
        with pytest.raises((InvalidError, UnavailableError), match=r"operator\.admin|FORBIDDEN"):
            provision(drive(odd_peer(talk, hello=hello).address), "writer", FILES)

    def talk_of_files(socket: ServerConnection, request: dict[str, Any]) -> None:
        if request["method"] == "agents.list":
            answer(socket, request, {"agents": [{"id": "writer"}]})
        else:
            talk(socket, request)

    with pytest.raises(InvalidError, match=r"needs the scope operator\.admin"):
        provision(drive(odd_peer(talk_of_files, hello=ADMIN).address), "writer", FILES)


def test_a_gateway_that_is_away_is_no_mistake(driver: Driver, local_gateway: LocalGateway) -> None:
    local_gateway.stop()
    with pytest.raises(UnavailableError, match="no gateway answers"):
        provision(driver, "writer", FILES)
    local_gateway.start()
