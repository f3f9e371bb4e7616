"""The gateway client: outcomes, error classes, and that nothing is run twice over lost sockets and restarts."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from models.errors import ErrorCode, UnavailableError
from orchestrator.core.outcome import Cancelled, Failed, Outcome, Succeeded
from orchestrator.drivers.gateways import Gateways
from orchestrator.drivers.openclaw import OpenClawGateway
from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.ports import Dispatch, Earlier
from orchestrator.settings import Settings
from tests.support.gateways import LocalGateway, OddPeer, answer, hello_ok
from tests.support.polling import poll
from tests.support.processes import StartProgram
from tests.support.proxy import Proxy

Bridge = Callable[..., OpenClawGateway]


@pytest.fixture
def bridge(gateways: Any, odd_peer: Any) -> Iterator[Bridge]:
    """`bridge(address, …) -> OpenClawGateway`, closed after the test and before the gateways."""
    opened: list[OpenClawGateway] = []

    def open_(address: Address | Callable[[], Address], **options: Any) -> OpenClawGateway:
        given = address if callable(address) else lambda: address
        opened.append(OpenClawGateway(given, **{"patience": 5.0} | options))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


@pytest.fixture
def driver(bridge: Bridge, local_gateway: LocalGateway) -> OpenClawGateway:
    return bridge(local_gateway.address)


def work(name: str, directive: str = "", *, seconds: float | None = 10.0, **changes: Any) -> Dispatch:
    """An attempt number 1 for the agent `echo`, scripted by a directive."""
    request = Dispatch(
        agent="echo",
        session_key=f"agent:echo:wf-run-{name}-a1",
        idempotency_key=f"run:{name}:1",
        title="Say it",
        description=f"Say what you got.\n@gateway {directive}" if directive else "Say what you got.",
        input={"name": name},
        priority=None,
        tags=(),
        deadline=None if seconds is None else time.monotonic() + seconds,
        cancelled=threading.Event(),
    )
    return replace(request, **changes)


def output(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Succeeded), outcome
    found = outcome.output
    assert isinstance(found, dict)
    return found


def error_code(outcome: Outcome) -> ErrorCode:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.code


def test_an_answer_gives_text_output_usage_and_model(driver: OpenClawGateway) -> None:
    outcome = driver.dispatch(
        work("a", '{"usage": {"input": 1000, "output": 50, "cost": 0.0123}, "model": "m-1"}')
    )
    assert output(outcome) == {
        "text": '{"name": "a"}',
        "output": {"name": "a"},
        "usage": {"tokens_in": 1000, "tokens_out": 50, "cost_microcents": 1_230_000},
        "model": "local/m-1",
    }
    assert isinstance(outcome, Succeeded)
    assert outcome.usage is not None
    assert (outcome.usage.agent, outcome.usage.cost_microcents) == ("echo", 1_230_000)


def test_usage_that_the_gateway_does_not_know_stays_unknown(driver: OpenClawGateway) -> None:
    absent = output(driver.dispatch(work("none", '{"usage": null}')))["usage"]
    assert absent == {"tokens_in": None, "tokens_out": None, "cost_microcents": None}
    unpriced = output(driver.dispatch(work("free", '{"usage": {"input": 5, "output": 5, "cost": 0}}')))
    assert unpriced["usage"]["cost_microcents"] is None


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('"plain words"', None),
        ('{"score": 7}', {"score": 7}),
        ('"Here:\\n```json\\n{\\"score\\": 7}\\n```\\nBye"', {"score": 7}),
        ('"```\\n{\\"score\\": 7}\\n```"', {"score": 7}),
        ('"```json\\n[1]\\n``` then ```json\\n{\\"a\\": 1}\\n```"', {"a": 1}),
        ('"[1, 2]"', None),
        ('"{\\"a\\": NaN}"', None),
        ('"{broken"', None),
    ],
)
def test_a_json_object_in_the_answer_is_the_output(
    driver: OpenClawGateway, reply: str, expected: dict[str, Any] | None
) -> None:
    assert output(driver.dispatch(work("j", f'{{"reply": {reply}}}')))["output"] == expected


FAULTS = [
    ('{"fail": "model"}', ErrorCode.LLM_DOWN),
    ('{"fail": "credit"}', ErrorCode.CREDIT_EXHAUSTED),
    ('{"fail": "empty"}', ErrorCode.TOOL_FAILED),
    ('{"fail": "unknown_agent"}', ErrorCode.AGENT_UNAVAILABLE),
    ('{"fail": "forbidden"}', ErrorCode.POLICY_DENIED),
    ('{"fail": "invalid"}', ErrorCode.VALIDATION),
    ('{"fail": "draining"}', ErrorCode.AGENT_UNAVAILABLE),
    ('{"timeout": true}', ErrorCode.TIMEOUT),
    ('{"hang": true}', ErrorCode.TIMEOUT),
    ('{"silent": true}', ErrorCode.TIMEOUT),
    ('{"garbage": "final"}', ErrorCode.VALIDATION),
    ('{"garbage": "noise"}', None),
    ('{"twice": true}', None),
    ('{"stream": ["a", "b"]}', None),
    ('{"size": 1000000}', None),
    ('{"drop": true, "delay": 0.05}', None),
    ('{"drop": true}', None),
    ('{"drop": "unaccepted"}', None),
]


@pytest.mark.parametrize(("directive", "code"), FAULTS)
def test_every_fault_has_its_class_and_leaves_the_client_usable(
    local_gateway: LocalGateway, bridge: Bridge, directive: str, code: ErrorCode | None
) -> None:
    driver = bridge(local_gateway.address, patience=0.3)
    outcome = driver.dispatch(work("fault", directive, seconds=1.0))
    assert (error_code(outcome) if isinstance(outcome, Failed) else None) == code
    assert output(driver.dispatch(work("after")))["output"] == {"name": "after"}
    runs = [row for row in local_gateway.runs() if row["runId"] == "run:fault:1"]
    assert len(runs) <= 1
    assert all(row["status"] not in ("queued", "running") for row in runs)


def test_faults_at_once_do_not_touch_each_other(driver: OpenClawGateway) -> None:
    directives = [(directive, code) for directive, code in FAULTS if "draining" not in directive]
    with ThreadPoolExecutor(40) as pool:
        asked = [
            (code, pool.submit(driver.dispatch, work(f"{number}-{copy}", directive, seconds=4.0)))
            for copy in range(2)
            for number, (directive, code) in enumerate(directives)
        ]
        for code, future in asked:
            outcome = future.result()
            assert (error_code(outcome) if isinstance(outcome, Failed) else None) == code


def test_fifty_dispatches_share_one_connection(driver: OpenClawGateway, local_gateway: LocalGateway) -> None:
    with ThreadPoolExecutor(50) as pool:
        began = time.monotonic()
        asked = [pool.submit(driver.dispatch, work(f"c{number}", '{"delay": 0.5}')) for number in range(50)]
        poll(lambda: [row["status"] for row in local_gateway.runs()].count("running") == 50)
        assert local_gateway.server.connections == 1
        names = {output(future.result())["output"]["name"] for future in asked}
    assert time.monotonic() - began < 5
    assert names == {f"c{number}" for number in range(50)}


def test_a_crowd_opens_a_second_connection(gateways: Callable[..., LocalGateway], bridge: Bridge) -> None:
    gateway = gateways(most=200)
    driver = bridge(gateway.address)
    with ThreadPoolExecutor(130) as pool:
        asked = [pool.submit(driver.dispatch, work(f"c{n}", '{"delay": 0.7}')) for n in range(130)]
        poll(lambda: len(gateway.runs()) == 130)
        assert gateway.server.connections == 2
        assert all(isinstance(future.result(), Succeeded) for future in asked)


def test_giving_up_ends_the_run_and_no_other(driver: OpenClawGateway, local_gateway: LocalGateway) -> None:
    gone, kept = work("gone", '{"hang": true}'), work("kept", '{"delay": 0.6}')
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(driver.dispatch, gone), pool.submit(driver.dispatch, kept)
        poll(lambda: len(local_gateway.runs()) == 2)
        gone.cancelled.set()
        assert first.result(2) == Cancelled()
        assert isinstance(second.result(), Succeeded)
    assert local_gateway.runs(gone.session_key)[0]["status"] == "cancelled"


def test_the_deadline_ends_the_run(driver: OpenClawGateway, local_gateway: LocalGateway) -> None:
    began = time.monotonic()
    assert error_code(driver.dispatch(work("late", '{"hang": true}', seconds=0.3))) is ErrorCode.TIMEOUT
    assert 0.3 <= time.monotonic() - began < 1.5
    assert local_gateway.runs()[0]["status"] == "cancelled"


def test_a_run_that_somebody_else_aborts_is_cancelled(
    driver: OpenClawGateway, local_gateway: LocalGateway
) -> None:
    request = work("stopped", '{"hang": true}')
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        poll(local_gateway.runs)
        driver.stop(request.session_key, request.idempotency_key)
        assert error_code(future.result(2)) is ErrorCode.CANCELLED
    driver.stop(request.session_key, request.idempotency_key)


def test_stop_says_when_it_could_not(bridge: Bridge, tmp_path: Path) -> None:
    gateway = Gateways(Settings(data_dir=tmp_path))
    with pytest.raises(UnavailableError, match=r"gateway\.json does not exist"):
        gateway.stop("agent:echo:x", "run:x:1")
    gateway.close()


def test_without_a_gateway_the_step_fails_at_once(tmp_path: Path) -> None:
    gateway = Gateways(Settings(data_dir=tmp_path))
    began = time.monotonic()
    outcome = gateway.dispatch(work("x"))
    assert error_code(outcome) is ErrorCode.AGENT_UNAVAILABLE
    assert isinstance(outcome, Failed)
    assert "orchestrator.gateway --data-dir" in outcome.error.message
    assert time.monotonic() - began < 1
    (tmp_path / "gateway.json").write_text('{"url": 1')
    assert error_code(gateway.dispatch(work("y"))) is ErrorCode.AGENT_UNAVAILABLE
    gateway.close()


def test_a_gateway_that_is_away_is_waited_for(local_gateway: LocalGateway, bridge: Bridge) -> None:
    local_gateway.stop()
    impatient = bridge(local_gateway.address, patience=0.3)
    assert error_code(impatient.dispatch(work("x"))) is ErrorCode.AGENT_UNAVAILABLE
    patient = bridge(local_gateway.address)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(patient.dispatch, work("y"))
        local_gateway.start()
        assert isinstance(future.result(), Succeeded)


def test_a_gateway_that_starts_is_waited_for(local_gateway: LocalGateway, bridge: Bridge) -> None:
    local_gateway.server.starting = True
    tries: list[Address] = []

    def address() -> Address:
        tries.append(local_gateway.address)
        return tries[-1]

    driver = bridge(address)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, work("y"))
        poll(lambda: len(tries) > 1)
        local_gateway.server.starting = False
        assert isinstance(future.result(), Succeeded)


def test_a_wait_for_a_gateway_can_be_given_up(local_gateway: LocalGateway, bridge: Bridge) -> None:
    local_gateway.stop()
    driver = bridge(local_gateway.address, patience=30.0)
    request = work("x", seconds=None)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        request.cancelled.set()
        assert future.result(2) == Cancelled()
    local_gateway.start()


def test_a_wrong_token_is_not_tried_again(local_gateway: LocalGateway, bridge: Bridge) -> None:
    driver = bridge(replace(local_gateway.address, token="wrong"), patience=30.0)
    outcome = driver.dispatch(work("x"))
    assert isinstance(outcome, Failed)
    assert outcome.error.code is ErrorCode.AGENT_UNAVAILABLE
    assert outcome.error.transient is False
    assert "AUTH_TOKEN_MISMATCH" in outcome.error.message


def test_a_gateway_that_moved_is_found(local_gateway: LocalGateway, bridge: Bridge, gateways: Any) -> None:
    addresses = [replace(local_gateway.address, token="old")]
    driver = bridge(lambda: addresses.pop(0) if len(addresses) > 1 else addresses[0])
    addresses.append(local_gateway.address)
    assert isinstance(driver.dispatch(work("x")), Succeeded)


@pytest.mark.parametrize("directive", ['{"delay": 0.4}', '{"delay": 0.05}'])
def test_a_lost_socket_finds_its_run_again(
    local_gateway: LocalGateway, bridge: Bridge, proxy: Callable[[str, int], Proxy], directive: str
) -> None:
    between = proxy("127.0.0.1", local_gateway.port)
    driver = bridge(replace(local_gateway.address, url=f"ws://127.0.0.1:{between.port}"))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, work("x", directive))
        poll(local_gateway.runs)
        between.cut()
        assert output(future.result())["output"] == {"name": "x"}
    assert [row["status"] for row in local_gateway.runs()] == ["completed"]


def test_a_restarted_gateway_is_asked_before_anything_is_sent_again(
    local_gateway: LocalGateway, bridge: Bridge, proxy: Callable[[str, int], Proxy]
) -> None:
    between = proxy("127.0.0.1", local_gateway.port)
    driver = bridge(replace(local_gateway.address, url=f"ws://127.0.0.1:{between.port}"))
    directive = '{"delay": 0.3, "usage": {"input": 10, "output": 2, "cost": 0.5}}'
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, work("x", directive))
        poll(local_gateway.runs)
        between.refuse()
        between.cut()
        local_gateway.stop()
        local_gateway.start()
        between.accept()
        found = output(future.result())
    assert found["output"] == {"name": "x"}
    assert found["usage"]["cost_microcents"] == 50_000_000
    assert len(local_gateway.runs()) == 1


def test_a_restart_in_the_middle_of_many_runs_loses_and_doubles_none(
    local_gateway: LocalGateway, bridge: Bridge
) -> None:
    driver = bridge(local_gateway.address)
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(driver.dispatch, work(f"r{n}", f'{{"delay": {n / 100}}}')) for n in range(40)]
        poll(lambda: len(local_gateway.runs()) >= 10)
        local_gateway.stop()
        local_gateway.start()
        assert {output(future.result())["output"]["name"] for future in asked} == {f"r{n}" for n in range(40)}
    assert len(local_gateway.runs()) == 40


def test_a_crashed_gateway_resumes_the_run_and_the_step_takes_it_over(
    programs: StartProgram, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    command = ("-m", "orchestrator.gateway", "--data-dir", str(settings.data_dir))
    first = programs(Settings(), *command)
    poll((settings.data_dir / "gateway.json").exists, 20)
    gateway = Gateways(settings)
    with ThreadPoolExecutor(1) as pool:
        directive = '{"hang": true, "times": 1, "reply": "taken up again"}'
        future = pool.submit(gateway.dispatch, work("x", directive, seconds=30.0))
        poll(lambda: b"run:x:1" in (settings.data_dir / "gateway.db-wal").read_bytes(), 10)
        first.kill()
        programs(Settings(), *command)
        assert output(future.result())["text"] == "taken up again"
    gateway.close()


def earlier(request: Dispatch) -> Dispatch:
    """Attempt 2 of the same step, whose attempt 1 has an unknown fate."""
    return replace(
        request,
        session_key=request.session_key.replace("-a1", "-a2"),
        idempotency_key="run:" + request.idempotency_key.split(":")[1] + ":2",
        earlier=(Earlier(session_key=request.session_key, idempotency_key=request.idempotency_key),),
    )


def test_the_answer_to_a_lost_attempt_is_taken_over(
    driver: OpenClawGateway, bridge: Bridge, local_gateway: LocalGateway
) -> None:
    request = work("x", '{"delay": 0.3}')
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(driver.dispatch, request)
        poll(local_gateway.runs)
        second = pool.submit(bridge(local_gateway.address).dispatch, earlier(request))
        assert output(first.result()) == output(second.result())
    assert output(bridge(local_gateway.address).dispatch(earlier(request)))["output"] == {"name": "x"}
    assert len(local_gateway.runs()) == 1


@pytest.mark.parametrize("directive", ["", '{"fail": "model", "times": 1}'])
def test_a_lost_attempt_that_gave_nothing_is_followed_by_a_new_run(
    driver: OpenClawGateway, local_gateway: LocalGateway, directive: str
) -> None:
    request = work("x", directive)
    if directive:
        assert error_code(driver.dispatch(request)) is ErrorCode.LLM_DOWN
    assert output(driver.dispatch(earlier(request)))["output"] == {"name": "x"}
    assert local_gateway.runs()[0]["runId"] == "run:x:2"


def test_an_unused_connection_closes_and_comes_back(local_gateway: LocalGateway, bridge: Bridge) -> None:
    driver = bridge(local_gateway.address, idle=0.1)
    driver.dispatch(work("x"))
    poll(lambda: local_gateway.server.connections == 0)
    assert isinstance(driver.dispatch(work("y")), Succeeded)


def final(socket: ServerConnection, request: dict[str, Any]) -> None:
    answer(socket, request, {"status": "ok", "result": {"payloads": [{"text": "done"}], "meta": {}}})


def test_pings_are_answered_while_a_run_is_waited_for(
    odd_peer: Callable[..., OddPeer], bridge: Bridge
) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if request["method"] == "agent":
            answer(socket, request, {"status": "accepted"})
            for _ in range(3):
                assert socket.ping().wait(2), "no pong"
            final(socket, request)

    peer = odd_peer(talk)
    assert output(bridge(peer.address).dispatch(work("x")))["text"] == "done"
    assert peer.connections == 1


def test_a_connection_on_which_nothing_is_heard_is_given_up(
    odd_peer: Callable[..., OddPeer], bridge: Bridge
) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if peer.connections > 2:
            final(socket, request)

    peer = odd_peer(talk, tick_ms=100)
    assert output(bridge(peer.address).dispatch(work("x")))["text"] == "done"
    assert peer.connections == 3


def test_a_gateway_that_drops_every_time_ends_in_network(
    odd_peer: Callable[..., OddPeer], bridge: Bridge
) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        socket.close()

    outcome = bridge(odd_peer(talk).address).dispatch(work("x", seconds=30.0))
    assert error_code(outcome) is ErrorCode.NETWORK
    assert isinstance(outcome, Failed)
    assert outcome.error.details == {"fate": "unknown"}


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (hello_ok() | {"auth": {"scopes": []}}, "operator.write"),
        (hello_ok() | {"auth": {"scopes": ["operator.read"]}}, "operator.write"),
        (hello_ok() | {"auth": 7}, "operator.read"),
        (hello_ok() | {"protocol": 5}, "protocol 5"),
        ({}, "protocol None"),
        ([], "protocol None"),
    ],
)
def test_what_a_gateway_grants_is_compared_with_what_was_asked(
    odd_peer: Callable[..., OddPeer], bridge: Bridge, hello: Any, said: str
) -> None:
    outcome = bridge(odd_peer(lambda *_: None, hello=hello).address).dispatch(work("x"))
    assert isinstance(outcome, Failed)
    assert outcome.error.code is ErrorCode.AGENT_UNAVAILABLE
    assert said in outcome.error.message
    assert outcome.error.transient is False
