"""The OpenClaw driver at gateways that list `tasks.execute`: one request, one answer, no look-up."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from models.errors import ErrorCode
from orchestrator.bridge import Accepted, Unsent
from orchestrator.core.outcome import Succeeded
from orchestrator.drivers.openclaw_frames import Response
from orchestrator.drivers.openclaw_tasks import task_outcome
from orchestrator.ports import Task
from tests.support.driving import Drive, Driver, Heard, error_code, output, work
from tests.support.gateways import LocalGateway, OddPeer, answer, hello_ok
from tests.support.polling import poll
from tests.support.proxy import Proxy


@pytest.fixture
def gateway(gateways: Callable[..., LocalGateway]) -> LocalGateway:
    return gateways(tasks_execute=True)


@pytest.fixture
def driver(gateway: LocalGateway, drive: Drive) -> Driver:
    return drive(gateway.address)


def test_work_is_sent_in_the_shape_of_the_method(odd_peer: Callable[..., OddPeer], drive: Drive) -> None:
    asked: list[dict[str, Any]] = []

    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        asked.append(request)
        result = {"output": {"a": 1}, "tokensUsed": {"input": 3, "output": 4}, "model": "m", "durationMs": 5}
        answer(socket, request, {"ok": True, "result": result})

    peer = odd_peer(talk, hello=hello_ok() | {"features": {"methods": ["agent", "tasks.execute"]}})
    task = Task(title="/new T", description="D", priority="high", tags=("x",))
    found = drive(peer.address).dispatch(work("x", task=task))
    assert output(found) == {
        "text": '{"a": 1}',
        "output": {"a": 1},
        "usage": {"tokens_in": 3, "tokens_out": 4, "cost_microcents": None},
        "model": "m",
    }
    [request] = asked
    assert request["method"] == "tasks.execute"
    assert request["params"] == {
        "agentKey": "echo",
        "sessionKey": "agent:echo:wf-run-x-a1",
        "taskInput": {
            "title": "Task: /new T",
            "description": "D",
            "context": {"name": "x"},
            "priority": "high",
            "tags": ["x"],
        },
    }


def test_an_answer_and_its_pieces(driver: Driver, heard: Heard) -> None:
    request = work("x", '{"stream": ["a", "b"], "pause": 0.05}', piece=heard.pieces.append)
    assert output(driver.dispatch(request))["text"] == heard.text == "ab"


def test_a_failure_has_its_class(driver: Driver) -> None:
    assert error_code(driver.dispatch(work("x", '{"fail": "model"}'))) is ErrorCode.LLM_DOWN
    assert error_code(driver.dispatch(work("y", '{"fail": "unknown_agent"}'))) is ErrorCode.AGENT_UNAVAILABLE
    assert error_code(driver.dispatch(work("z", '{"hang": true}', seconds=0.3))) is ErrorCode.TIMEOUT
    assert isinstance(driver.dispatch(work("d", '{"fail": "draining"}')), Unsent)
    assert isinstance(driver.dispatch(work("after")), Succeeded)


def test_after_the_patience_the_answer_comes_on_the_open_call(driver: Driver, heard: Heard) -> None:
    request = work("x", '{"delay": 0.3}', patience=0.05, ended=heard.ends.append)
    assert isinstance(driver.dispatch(request), Accepted)
    assert driver.look_up(request) is None
    assert isinstance(heard.end(), Succeeded)
    assert driver.look_up(request) is None


def test_a_stop_ends_the_work(driver: Driver, heard: Heard, gateway: LocalGateway) -> None:
    request = work("x", '{"hang": true}', patience=0.05, ended=heard.ends.append)
    assert isinstance(driver.dispatch(request), Accepted)
    driver.stop(request)
    poll(lambda: [row["status"] for row in gateway.runs()] == ["cancelled"])


@pytest.mark.parametrize("patience", [None, 0.05])
def test_a_lost_socket_leaves_the_fate_unknown_and_nothing_is_sent_twice(
    gateway: LocalGateway,
    drive: Drive,
    heard: Heard,
    proxy: Callable[[str, int], Proxy],
    patience: float | None,
) -> None:
    between = proxy("127.0.0.1", gateway.port)
    driver = drive(replace(gateway.address, url=f"ws://127.0.0.1:{between.port}"))
    if patience is None:
        found = driver.dispatch(work("x", '{"drop": true}'))
    else:
        request = work("x", '{"hang": true}', patience=patience, ended=heard.ends.append)
        assert isinstance(driver.dispatch(request), Accepted)
        between.cut()
        found = heard.end()
    assert error_code(found) is ErrorCode.NETWORK
    assert found.error.details == {"fate": "unknown"}
    assert len(gateway.runs()) == 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({}, ErrorCode.TOOL_FAILED),
        ({"ok": True}, ErrorCode.VALIDATION),
        ({"ok": True, "result": {"output": None}}, ErrorCode.VALIDATION),
        ({"ok": False, "error": {"message": "no"}}, ErrorCode.TOOL_FAILED),
        ({"ok": True, "result": 7}, ErrorCode.VALIDATION),
    ],
)
def test_an_answer_that_is_none_is_a_failure(payload: dict[str, Any], code: ErrorCode) -> None:
    found = task_outcome("echo", Response(id="1", ok=True, payload=json.loads(json.dumps(payload))))
    assert error_code(found) is code
