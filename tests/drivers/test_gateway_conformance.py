"""What every kind of gateway driver does the same: the port in orchestrator/bridge.py, point by point."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from models.errors import ErrorCode, InvalidError, OrchestratorError
from orchestrator.bridge import Accepted, Dispatch, Endpoint, Gateway, Pong, Unsent
from orchestrator.core.outcome import Cancelled, Failed, Succeeded
from orchestrator.registry import BUILT_IN_GATEWAYS, gateway_classes
from orchestrator.settings import Settings
from tests.support.driving import LOOPBACK, Heard, address_file, error_code, later, output, parts, work
from tests.support.gateways import LocalGateway
from tests.support.http_agent import HttpAgent
from tests.support.polling import poll


@dataclass(slots=True, kw_only=True)
class Kind:
    """A driver, a gateway for it that can go away, and how its end is known."""

    gateway: Gateway
    endpoint: Endpoint
    leave: Callable[[], None]
    come_back: Callable[[], None]

    def dispatch(self, request: Dispatch) -> Any:
        return self.gateway.dispatch(self.endpoint, request)

    def look_up(self, request: Dispatch) -> Any:
        return self.gateway.look_up(self.endpoint, request.sent)


@pytest.fixture(params=sorted(BUILT_IN_GATEWAYS))
def kind(request: pytest.FixtureRequest, tmp_path: Path, heard: Heard) -> Iterator[Kind]:
    settings = Settings(data_dir=tmp_path, http_allow=(LOOPBACK,))
    gateway = gateway_classes()[request.param](parts(settings, heard=heard))  # type: ignore[call-arg]
    yield MAKE[request.param](gateway, tmp_path, request)
    gateway.close()


def socket_kind(name: str) -> Callable[..., Kind]:
    def make(gateway: Gateway, place: Path, request: pytest.FixtureRequest) -> Kind:
        server = LocalGateway()
        address_file(place, server.address)
        url = server.address.url if name == "openclaw" else ""
        request.addfinalizer(server.close)
        return Kind(
            gateway=gateway,
            endpoint=Endpoint(id="g", kind=name, url=url, token=server.address.token if url else None),
            leave=server.stop,
            come_back=server.start,
        )

    return make


def http_kind(gateway: Gateway, place: Path, request: pytest.FixtureRequest) -> Kind:
    agent = HttpAgent()
    request.addfinalizer(agent.stop)
    endpoint = Endpoint(id="g", kind="http", url=agent.url, token=agent.token)
    return Kind(gateway=gateway, endpoint=endpoint, leave=agent.stop, come_back=agent.start)


MAKE: dict[str, Callable[..., Kind]] = {
    "openclaw": socket_kind("openclaw"),
    "local": socket_kind("local"),
    "http": http_kind,
}


def test_every_kind_is_tested() -> None:
    assert set(MAKE) == set(BUILT_IN_GATEWAYS)


def test_an_answer(kind: Kind) -> None:
    found = kind.dispatch(work("x"))
    assert output(found)["text"] == '{"name": "x"}'
    assert output(found)["output"] == {"name": "x"}
    assert found.usage.agent == "echo"
    assert found.usage.tokens_in > 0
    assert output(found)["model"] == found.usage.model is not None


@pytest.mark.parametrize(
    ("directive", "code", "transient"),
    [
        ('{"fail": "model"}', ErrorCode.LLM_DOWN, True),
        ('{"fail": "credit"}', ErrorCode.CREDIT_EXHAUSTED, False),
        ('{"fail": "empty"}', ErrorCode.TOOL_FAILED, False),
        ('{"fail": "forbidden"}', ErrorCode.POLICY_DENIED, False),
        ('{"fail": "unknown_agent"}', ErrorCode.AGENT_UNAVAILABLE, True),
    ],
)
def test_a_failure_has_its_class_and_harms_no_other(
    kind: Kind, directive: str, code: ErrorCode, transient: bool
) -> None:
    found = kind.dispatch(work("x", directive))
    assert error_code(found) is code
    assert found.error.transient is transient
    assert isinstance(kind.dispatch(work("after")), Succeeded)


def test_work_that_takes_long_is_accepted_and_comes_to_its_end(kind: Kind, heard: Heard) -> None:
    request = work("x", '{"delay": 0.5}', patience=0.1, ended=heard.ends.append)
    assert kind.dispatch(request) == Accepted(sent=request.sent)
    assert kind.look_up(request) is None
    assert output(poll(lambda: kind.look_up(request)))["output"] == {"name": "x"}
    assert [output(end)["output"] for end in heard.ends] in ([], [{"name": "x"}])


def test_a_gateway_that_is_away_has_been_sent_nothing(kind: Kind) -> None:
    kind.leave()
    assert isinstance(kind.dispatch(work("x")), Unsent)
    with pytest.raises(OrchestratorError):
        kind.look_up(work("x"))
    with pytest.raises(OrchestratorError):
        kind.gateway.stop(kind.endpoint, work("x").sent)
    with pytest.raises(OrchestratorError):
        kind.gateway.ping(kind.endpoint, 1.0)
    kind.come_back()
    assert isinstance(kind.gateway.ping(kind.endpoint, 2.0), Pong)
    assert isinstance(kind.dispatch(work("x")), Succeeded)


def test_a_gateway_that_drains_has_been_sent_nothing(kind: Kind) -> None:
    assert isinstance(kind.dispatch(work("x", '{"fail": "draining"}')), Unsent)


def test_a_stop_ends_work(kind: Kind) -> None:
    request = work("x", '{"hang": true}', patience=0.1)
    assert isinstance(kind.dispatch(request), Accepted)
    kind.gateway.stop(kind.endpoint, request.sent)
    assert error_code(poll(lambda: kind.look_up(request))) is ErrorCode.CANCELLED
    kind.gateway.stop(kind.endpoint, request.sent)
    kind.gateway.stop(kind.endpoint, work("never").sent)


def test_a_lost_attempt_that_succeeded_is_taken_over(kind: Kind) -> None:
    request = work("x", '{"delay": 0.1}', patience=0.0)
    assert isinstance(kind.dispatch(request), Accepted)
    poll(lambda: kind.look_up(request))
    assert output(kind.dispatch(later(request)))["output"] == {"name": "x"}


def test_given_up_work_is_cancelled(kind: Kind) -> None:
    request = work("x")
    request.cancelled.set()
    assert isinstance(kind.dispatch(request), Cancelled | Succeeded)


def test_a_deadline_that_has_passed_sends_nothing(kind: Kind) -> None:
    assert isinstance(kind.dispatch(work("x", seconds=-1.0)), Unsent | Failed)


def test_odd_work_is_an_outcome(kind: Kind) -> None:
    sent = work("x").sent
    for odd in (
        work("x", sent=replace(sent, agent="")),
        work("x", sent=replace(sent, session_key="agent:other:x")),
        work("x", sent=replace(sent, key="a/b?c#d %")),
        work("x", input={"text": "\ud800\x00"}),
    ):
        assert isinstance(kind.dispatch(odd), Succeeded | Failed | Accepted | Unsent)


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://x", "ws://169.254.169.254", "http://169.254.169.254/x"])
def test_an_odd_address_is_an_outcome(kind: Kind, url: str) -> None:
    odd = replace(kind.endpoint, id="odd", url=url)
    found = kind.gateway.dispatch(odd, work("x"))
    if kind.endpoint.kind == "local":
        assert isinstance(found, Succeeded)  # it finds its gateway itself
        return
    assert isinstance(found, Unsent | Failed)
    with pytest.raises(OrchestratorError):
        kind.gateway.ping(odd, 1.0)
    with pytest.raises(OrchestratorError):
        kind.gateway.look_up(odd, work("x").sent)


def test_a_wrong_token_is_said(kind: Kind) -> None:
    found = kind.gateway.dispatch(replace(kind.endpoint, id="w", token="wrong"), work("x"))
    if kind.endpoint.kind == "openclaw":
        assert isinstance(found, Unsent)
        assert "AUTH_TOKEN_MISMATCH" in found.reason
    elif kind.endpoint.kind == "http":
        assert error_code(found) is ErrorCode.POLICY_DENIED


def test_files_are_written_or_refused(kind: Kind) -> None:
    kind.gateway.provision(kind.endpoint, "writer", {})
    with pytest.raises(InvalidError):
        kind.gateway.provision(kind.endpoint, "writer", {"notes.md": "x"})


def test_many_threads_at_once(kind: Kind) -> None:
    before = threading.active_count()
    with ThreadPoolExecutor(30) as pool:
        found = list(pool.map(kind.dispatch, [work(f"n{number}") for number in range(60)]))
    assert [output(each)["output"]["name"] for each in found] == [f"n{number}" for number in range(60)]
    poll(lambda: threading.active_count() <= before + 4)
