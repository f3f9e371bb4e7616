"""The OpenClaw driver: outcomes and error classes, and that each attempt is by itself."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from models.errors import ErrorCode
from orchestrator.bridge import Accepted, Unsent
from orchestrator.core.outcome import Cancelled, Failed, Succeeded
from tests.support.driving import Drive, Driver, error_code, output, work
from tests.support.gateways import LocalGateway, OddPeer, hello_ok
from tests.support.polling import poll


def test_an_answer_gives_text_output_usage_and_model(driver: Driver) -> None:
    outcome = driver.dispatch(
        work("a", '{"usage": {"input": 1000, "output": 50, "cost": 0.0123}, "model": "m-1"}')
    )
    assert output(outcome) == {
        "text": '{"name": "a"}',
        "output": {"name": "a"},
        "usage": {"tokens_in": 1000, "tokens_out": 50, "cost_microcents": 1_230_000},
        "model": "local/m-1",
    }
    assert (outcome.usage.agent, outcome.usage.cost_microcents) == ("echo", 1_230_000)


def test_a_model_of_another_provider_is_named_with_it(driver: Driver) -> None:
    assert output(driver.dispatch(work("a", '{"model": "openai/gpt-4o"}')))["model"] == "openai/gpt-4o"


def test_usage_that_the_gateway_does_not_know_stays_unknown(driver: Driver) -> None:
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
        ('"[1, 2]"', None),
    ],
)
def test_a_json_object_in_the_answer_is_the_output(
    driver: Driver, reply: str, expected: dict[str, Any] | None
) -> None:
    assert output(driver.dispatch(work("j", f'{{"reply": {reply}}}')))["output"] == expected


FAULTS = [
    ('{"fail": "model"}', ErrorCode.LLM_DOWN),
    ('{"fail": "credit"}', ErrorCode.CREDIT_EXHAUSTED),
    ('{"fail": "empty"}', ErrorCode.TOOL_FAILED),
    ('{"fail": "unknown_agent"}', ErrorCode.AGENT_UNAVAILABLE),
    ('{"fail": "forbidden"}', ErrorCode.POLICY_DENIED),
    ('{"fail": "invalid"}', ErrorCode.VALIDATION),
    ('{"timeout": true}', ErrorCode.TIMEOUT),
    ('{"hang": true}', ErrorCode.TIMEOUT),
    ('{"silent": true}', ErrorCode.TIMEOUT),
    ('{"silent": "final", "delay": 0.1}', ErrorCode.TIMEOUT),
    ('{"garbage": "final"}', ErrorCode.VALIDATION),
    ('{"garbage": "noise"}', None),
    ('{"twice": true}', None),
    ('{"stream": ["a", "b"]}', None),
    ('{"stream": ["a", "b"], "fail": "model"}', ErrorCode.LLM_DOWN),
    ('{"size": 1000000}', None),
    ('{"drop": true, "delay": 0.05}', None),
    ('{"drop": true}', None),
    ('{"drop": "unaccepted"}', None),
]


@pytest.mark.parametrize(("directive", "code"), FAULTS)
def test_every_fault_has_its_class_and_leaves_the_pool_usable(
    local_gateway: LocalGateway, driver: Driver, directive: str, code: ErrorCode | None
) -> None:
    outcome = driver.dispatch(work("fault", directive, seconds=1.5))
    assert (error_code(outcome) if isinstance(outcome, Failed) else None) == code
    assert output(driver.dispatch(work("after")))["output"] == {"name": "after"}
    runs = [row for row in local_gateway.runs() if row["runId"] == "run:fault:1"]
    assert len(runs) <= 1
    poll(lambda: all(row["status"] not in ("queued", "running") for row in local_gateway.runs()))


def test_a_request_that_is_longer_than_the_gateway_takes_is_not_sent(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    hello = hello_ok() | {"policy": {"tickIntervalMs": 30_000, "maxPayload": 500}}
    asked: list[Any] = []
    peer = odd_peer(lambda _, request: asked.append(request), hello=hello)
    outcome = drive(peer.address).dispatch(work("x", input={"text": "x" * 1000}))
    assert error_code(outcome) is ErrorCode.VALIDATION
    assert outcome.error.transient is False
    assert asked == []


def test_an_answer_without_end_costs_the_connection_and_not_the_memory(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.drivers.openclaw_dial._LONGEST", 200_000)
    found = driver.dispatch(work("long", '{"size": 1000000}', seconds=30.0))
    assert error_code(found) is ErrorCode.NETWORK
    assert isinstance(driver.dispatch(work("after", '{"size": 50000}')), Succeeded)


def test_a_gateway_that_drains_is_unsent(driver: Driver, local_gateway: LocalGateway) -> None:
    began = time.monotonic()
    found = driver.dispatch(work("x", '{"fail": "draining"}', seconds=10.0))
    assert isinstance(found, Unsent)
    assert "draining" in found.reason
    assert time.monotonic() - began < 3.5
    assert local_gateway.runs() == []


def test_faults_at_once_do_not_touch_each_other(driver: Driver) -> None:
    with ThreadPoolExecutor(40) as pool:
        asked = [
            (code, pool.submit(driver.dispatch, work(f"{number}-{copy}", directive, seconds=5.0)))
            for copy in range(2)
            for number, (directive, code) in enumerate(FAULTS)
        ]
        for code, future in asked:
            outcome = future.result()
            assert (error_code(outcome) if isinstance(outcome, Failed) else None) == code


def test_fifty_dispatches_share_one_connection(driver: Driver, local_gateway: LocalGateway) -> None:
    with ThreadPoolExecutor(50) as pool:
        began = time.monotonic()
        asked = [pool.submit(driver.dispatch, work(f"c{number}", '{"delay": 0.5}')) for number in range(50)]
        poll(lambda: [row["status"] for row in local_gateway.runs()].count("running") == 50)
        assert local_gateway.server.connections == 1
        names = {output(future.result())["output"]["name"] for future in asked}
    assert time.monotonic() - began < 5
    assert names == {f"c{number}" for number in range(50)}


def test_giving_up_ends_the_run_and_no_other(driver: Driver, local_gateway: LocalGateway) -> None:
    gone, kept = work("gone", '{"hang": true}'), work("kept", '{"delay": 0.6}')
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(driver.dispatch, gone), pool.submit(driver.dispatch, kept)
        poll(lambda: len(local_gateway.runs()) == 2)
        gone.cancelled.set()
        assert first.result(2) == Cancelled()
        assert isinstance(second.result(), Succeeded)
    poll(lambda: local_gateway.runs(gone.sent.session_key)[0]["status"] == "cancelled")


def test_the_deadline_ends_the_run(driver: Driver, local_gateway: LocalGateway) -> None:
    began = time.monotonic()
    assert error_code(driver.dispatch(work("late", '{"hang": true}', seconds=0.4))) is ErrorCode.TIMEOUT
    assert 0.4 <= time.monotonic() - began < 1.5
    poll(lambda: local_gateway.runs()[0]["status"] == "cancelled")


def test_a_run_that_is_stopped_is_cancelled(driver: Driver, local_gateway: LocalGateway, drive: Drive) -> None:
    request = work("stopped", '{"hang": true}')
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        poll(local_gateway.runs)
        drive(local_gateway.address).stop(request)  # another process
        assert error_code(future.result(2)) is ErrorCode.CANCELLED
    driver.stop(request)


def states(gateway: LocalGateway) -> list[str]:
    """What its runs do, the newest first."""
    return [row["execution"]["state"] for row in gateway.runs()]


def test_a_run_that_is_queued_can_be_stopped(
    gateways: Callable[..., LocalGateway], drive: Drive
) -> None:
    gateway = gateways(most=1)
    driver, first, second = drive(gateway.address), work("first", '{"hang": true}'), work("second")
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(driver.dispatch, first)]
        poll(lambda: states(gateway) == ["running"])
        futures.append(pool.submit(driver.dispatch, second))
        poll(lambda: states(gateway) == ["queued", "running"])
        driver.stop(second)
        assert error_code(futures[1].result(2)) is ErrorCode.CANCELLED
        assert not futures[0].done()
        driver.stop(first)
        assert error_code(futures[0].result(2)) is ErrorCode.CANCELLED


def test_keys_of_sessions_are_lower_case(driver: Driver, local_gateway: LocalGateway) -> None:
    request = work("x")
    sent = request.sent
    shouted = type(sent)(agent="Echo", session_key="WF-Run-X", key="run:X:1")
    assert isinstance(driver.dispatch(work("x", sent=shouted)), Succeeded)
    assert local_gateway.runs()[0]["sessionKey"] == "agent:echo:wf-run-x"
    assert isinstance(driver.look_up(work("x", sent=shouted)), Succeeded)


def test_a_gateway_that_drops_every_time_ends_in_network(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        socket.close()

    driver = drive(odd_peer(talk).address)
    outcome = driver.dispatch(work("x", seconds=30.0))
    assert error_code(outcome) is ErrorCode.NETWORK
    assert outcome.error.details == {"fate": "unknown"}
    request = work("x", seconds=60.0, patience=30.0)
    assert driver.dispatch(request) == Accepted(sent=request.sent)  # a look-up finds it, once that is possible
