"""The driver of agents over HTTP: docs/agents.md, Agents over HTTP."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from models.errors import ErrorCode, InvalidError, UnavailableError
from orchestrator.bridge import Accepted, Endpoint, Pong, Unsent
from orchestrator.core.outcome import Cancelled, Failed, Succeeded
from orchestrator.drivers.gateway_http import HttpGateway
from orchestrator.drivers.http_answer import said_in
from orchestrator.ports import HttpResponse, Task
from orchestrator.settings import Settings
from tests.support.driving import LOOPBACK, error_code, later, output, parts, work
from tests.support.http_agent import HttpAgent


@pytest.fixture
def agent() -> Iterator[HttpAgent]:
    opened = HttpAgent()
    yield opened
    opened.stop()


@pytest.fixture
def gateway() -> HttpGateway:
    return HttpGateway(parts(Settings(http_allow=(LOOPBACK,), max_body_bytes=2000)))


@pytest.fixture
def place(agent: HttpAgent) -> Endpoint:
    return Endpoint(id="h", kind="http", url=agent.url, token=agent.token)


def test_what_is_sent(gateway: HttpGateway, agent: HttpAgent, place: Endpoint) -> None:
    task = Task(title="T", description="D", priority="high", tags=("a",))
    request = work("x", task=task, callback_url="http://us/api/callbacks/abc", seconds=30.0)
    assert isinstance(gateway.dispatch(place, request), Succeeded)
    [(method, path, headers, body)] = agent.asked
    assert (method, path) == ("POST", "/agents/echo")
    assert headers["authorization"] == "Bearer secret"
    assert headers["idempotency-key"] == "run:x:1"
    assert headers["content-type"] == "application/json"
    assert body == {
        "idempotency_key": "run:x:1",
        "run_id": "run",
        "step": "x",
        "attempt": 1,
        "agent": "echo",
        "session_key": "agent:echo:wf-run-x-a1",
        "task": {"title": "T", "description": "D", "priority": "high", "tags": ["a"]},
        "input": {"name": "x"},
        "callback_url": "http://us/api/callbacks/abc",
        "timeout_seconds": 30,
    }


def test_without_token_and_timeout(gateway: HttpGateway, agent: HttpAgent, place: Endpoint) -> None:
    gateway.dispatch(replace(place, token=None), work("x", seconds=None))
    [(_, _, headers, body)] = agent.asked
    assert "authorization" not in headers
    assert (body["timeout_seconds"], body["callback_url"]) == (None, None)


@pytest.mark.parametrize(
    ("status", "code", "transient"),
    [
        (204, ErrorCode.VALIDATION, False),
        (302, ErrorCode.VALIDATION, False),
        (400, ErrorCode.TOOL_FAILED, False),
        (401, ErrorCode.POLICY_DENIED, False),
        (403, ErrorCode.POLICY_DENIED, False),
        (404, ErrorCode.AGENT_UNAVAILABLE, True),
        (418, ErrorCode.TOOL_FAILED, False),
        (500, ErrorCode.TOOL_FAILED, True),
        (501, ErrorCode.TOOL_FAILED, True),
    ],
)
def test_a_status_has_its_class(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, status: int, code: ErrorCode, transient: bool
) -> None:
    agent.status = status
    found = gateway.dispatch(place, work("x"))
    assert error_code(found) is code
    assert isinstance(found, Failed)
    assert found.error.transient is transient
    assert str(status) in found.error.message


def test_a_token_that_a_refusal_repeats_is_not_cut_in_two() -> None:
    body = b"x" * 296 + b"a long token"
    assert said_in(HttpResponse(status=403, headers={}, body=body, cut=False), "a long token") == f": {'x' * 296}***"


@pytest.mark.parametrize("status", [408, 502, 504])
def test_what_a_proxy_cuts_off_has_an_unknown_fate(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, status: int
) -> None:
    agent.status = status
    found = gateway.dispatch(place, work("x"))
    assert error_code(found) is ErrorCode.NETWORK
    assert isinstance(found, Failed)
    assert found.error.details == {"fate": "unknown"}


@pytest.mark.parametrize("status", [429, 503])
def test_an_agent_that_is_busy_or_away_has_been_sent_nothing(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, status: int
) -> None:
    agent.status = status
    found = gateway.dispatch(place, work("x"))
    assert isinstance(found, Unsent)
    assert str(status) in found.reason


@pytest.mark.parametrize(
    ("said", "of"),
    [
        (b"", "no JSON"),
        (b"no json", "no JSON"),
        (b'{"text": NaN}', "no JSON"),
        (b"[" * 900, "no JSON"),
        (b"[1]", "no JSON object"),
        (b"{}", "holds nothing"),
        (b'{"text": 7}', "text"),
        (b'{"text": "a", "usage": 7}', "usage"),
        (b'{"text": "a", "usage": {"input": true}}', "usage.input"),
        (b'{"text": "a", "usage": {"input": 1.5}}', "usage.input"),
        (b'{"text": "a", "usage": {"output": -1}}', "usage.output"),
        (b'{"text": "a", "usage": {"cost_microcents": 1e30}}', "usage.cost_microcents"),
        (b'{"text": "a", "model": 7}', "model"),
        (b'{"error": "broken"}', "error"),
        (b'{"error": {"code": "NONE_OF_OURS"}}', "NONE_OF_OURS"),
        (b'{"error": {"message": 7}}', "error.message"),
        (b'{"error": {"transient": 1}}', "error.transient"),
    ],
)
def test_an_answer_that_is_none_is_refused(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, said: bytes, of: str
) -> None:
    agent.said = said
    found = gateway.dispatch(place, work("x"))
    assert error_code(found) is ErrorCode.VALIDATION
    assert isinstance(found, Failed)
    assert of in found.error.message


def test_an_answer_that_is_too_long_is_cut_off(gateway: HttpGateway, agent: HttpAgent, place: Endpoint) -> None:
    agent.said = json.dumps({"text": "x" * 3000}).encode()
    assert error_code(gateway.dispatch(place, work("x"))) is ErrorCode.OUTPUT_TOO_LARGE


def test_an_error_of_the_agent_keeps_what_it_says(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint
) -> None:
    error = {"code": "TOOL_FAILED", "message": "no disk", "transient": True, "details": {"disk": 1}}
    agent.said = json.dumps({"error": error, "usage": {"output": 5}}).encode()
    found = gateway.dispatch(place, work("x"))
    assert isinstance(found, Failed)
    assert found.error.to_json() == error
    assert found.usage is not None
    assert found.usage.tokens_out == 5


def test_an_agent_that_keeps_us_waiting_is_left_to_call_back(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.drivers.gateway_http._LEAST_WAIT", 0.2)
    monkeypatch.setattr(agent, "_answer", lambda *_: time.sleep(1.0) or (200, {"text": "late"}))
    request = work("x", patience=0.0)
    began = time.monotonic()
    assert gateway.dispatch(place, request) == Accepted(sent=request.sent)
    assert time.monotonic() - began < 0.8
    assert error_code(gateway.dispatch(place, work("y", seconds=0.2))) is ErrorCode.TIMEOUT


def test_a_connection_that_breaks_leaves_the_fate_unknown(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(handler: Any) -> None:
        handler.connection.close()

    monkeypatch.setattr(agent, "_serve", cut)
    found = gateway.dispatch(place, work("x"))
    assert error_code(found) is ErrorCode.NETWORK
    assert isinstance(found, Failed)
    assert found.error.details == {"fate": "unknown"}


def test_a_place_that_is_not_public_is_denied(place: Endpoint) -> None:
    guarded = HttpGateway(parts(Settings()))
    found = guarded.dispatch(place, work("x"))
    assert error_code(found) is ErrorCode.POLICY_DENIED
    with pytest.raises(UnavailableError, match="ORCHESTRATOR_HTTP_ALLOW"):
        guarded.ping(place, 1.0)


@pytest.mark.parametrize("status", [404, 405, 410, 202])
def test_an_agent_that_shows_nothing_is_waited_for(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, status: int
) -> None:
    agent.status = status
    assert gateway.look_up(place, work("x").sent) is None
    gateway.stop(place, work("x").sent)


@pytest.mark.parametrize("status", [500, 503, 401])
def test_an_agent_that_does_not_say_is_asked_again(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, status: int
) -> None:
    agent.status = status
    with pytest.raises(UnavailableError, match=str(status)):
        gateway.look_up(place, work("x").sent)
    with pytest.raises(UnavailableError, match=str(status)):
        gateway.stop(place, work("x").sent)
    with pytest.raises(UnavailableError, match=str(status)):
        gateway.ping(place, 1.0)


@pytest.mark.parametrize("status", [200, 204, 404, 405])
def test_an_agent_without_a_health_page_is_well(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint, status: int
) -> None:
    agent.status = status
    assert gateway.ping(place, 1.0) == Pong()


def test_paths_are_made_of_the_url_and_the_key(gateway: HttpGateway, agent: HttpAgent, place: Endpoint) -> None:
    sent = replace(work("x").sent, key="run:a/b?c:1")
    gateway.look_up(replace(place, url=agent.url + "/?tenant=7"), sent)
    gateway.stop(place, sent)
    assert [path for _, path, _, _ in agent.asked] == [
        "/agents/echo/run%3Aa%2Fb%3Fc%3A1?tenant=7",
        "/agents/echo/run%3Aa%2Fb%3Fc%3A1",
    ]


def test_a_lost_attempt_that_shows_nothing_is_followed_by_another(
    gateway: HttpGateway, agent: HttpAgent, place: Endpoint
) -> None:
    assert output(gateway.dispatch(place, later(work("x"))))["output"] == {"name": "x"}
    assert [body["idempotency_key"] for body in agent.sent("POST")] == ["run:x:2"]


def test_given_up_work_is_cancelled(gateway: HttpGateway, place: Endpoint) -> None:
    request = work("x", '{"delay": 5}')
    request.cancelled.set()
    assert gateway.dispatch(place, request) == Cancelled()


def test_there_is_no_place_for_files(gateway: HttpGateway, place: Endpoint) -> None:
    gateway.provision(place, "echo", {})
    with pytest.raises(InvalidError, match="takes no workspace files"):
        gateway.provision(place, "echo", {"SOUL.md": "x"})
