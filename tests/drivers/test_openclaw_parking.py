"""The OpenClaw driver: work that goes on after its caller's patience costs no thread, and its end is told once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from models.errors import ErrorCode, UnavailableError
from orchestrator.bridge import Accepted
from orchestrator.core.outcome import Again, Succeeded
from tests.support.driving import Drive, Driver, Heard, error_code, output, work
from tests.support.gateways import LocalGateway, OddPeer, answer
from tests.support.polling import poll
from tests.support.proxy import Proxy


def test_after_the_patience_the_end_is_told_once(driver: Driver, heard: Heard) -> None:
    request = work("x", '{"delay": 0.4, "twice": true}', patience=0.1, ended=heard.ends.append)
    began = time.monotonic()
    assert driver.dispatch(request) == Accepted(sent=request.sent)
    assert time.monotonic() - began < 0.35
    assert driver.look_up(request) is None
    assert output(heard.end())["output"] == {"name": "x"}
    assert output(driver.look_up(request)) == output(heard.end())


def test_an_end_within_the_patience_is_answered(driver: Driver, heard: Heard) -> None:
    found = driver.dispatch(work("x", '{"delay": 0.1}', patience=5.0, ended=heard.ends.append))
    assert isinstance(found, Succeeded)
    assert heard.ends == []


def test_the_patience_begins_when_the_work_is_taken_and_the_deadline_stands(driver: Driver) -> None:
    late = driver.dispatch(work("x", '{"hang": true}', patience=5.0, seconds=0.4))
    assert error_code(late) is ErrorCode.TIMEOUT
    none = driver.dispatch(work("y", '{"delay": 0.3}', patience=0.0))
    assert isinstance(none, Accepted)


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ('{"delay": 0.3, "fail": "model"}', ErrorCode.LLM_DOWN),
        ('{"delay": 0.3, "timeout": true}', ErrorCode.TIMEOUT),
        ('{"delay": 0.3, "garbage": "final"}', ErrorCode.VALIDATION),
    ],
)
def test_a_failure_after_the_patience_has_its_class(
    driver: Driver, heard: Heard, directive: str, code: ErrorCode
) -> None:
    request = work("x", directive, patience=0.1, ended=heard.ends.append)
    assert isinstance(driver.dispatch(request), Accepted)
    assert error_code(heard.end()) is code


def test_a_stop_ends_an_accepted_run(driver: Driver, heard: Heard, local_gateway: LocalGateway) -> None:
    request = work("x", '{"hang": true}', patience=0.1, ended=heard.ends.append)
    assert isinstance(driver.dispatch(request), Accepted)
    driver.stop(request)
    assert error_code(heard.end()) is ErrorCode.CANCELLED
    assert error_code(driver.look_up(request)) is ErrorCode.CANCELLED


def test_a_lost_socket_drops_the_call_and_the_look_up_makes_it_good(
    local_gateway: LocalGateway, drive: Drive, heard: Heard, proxy: Callable[[str, int], Proxy]
) -> None:
    between = proxy("127.0.0.1", local_gateway.port)
    driver = drive(replace(local_gateway.address, url=f"ws://127.0.0.1:{between.port}"))
    request = work("x", '{"delay": 0.4}', patience=0.1, ended=heard.ends.append)
    assert isinstance(driver.dispatch(request), Accepted)
    between.cut()
    assert output(poll(lambda: driver.look_up(request)))["output"] == {"name": "x"}
    assert heard.ends == []


def test_what_the_gateway_never_heard_of_is_to_be_sent_again(driver: Driver) -> None:
    assert driver.look_up(work("never")) == Again()


def test_a_look_up_says_when_the_gateway_does_not(drive: Drive, local_gateway: LocalGateway) -> None:
    driver = drive(local_gateway.address)
    local_gateway.stop()
    with pytest.raises(UnavailableError, match="no gateway answers"):
        driver.look_up(work("x"))
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        driver.look_up(work("x"))
    assert time.monotonic() - began < 0.1  # the circuit is open
    local_gateway.start()


@pytest.mark.parametrize("payload", [{}, {"tasks": None}, {"tasks": {"a": 1}}, "text"])
def test_a_ledger_that_is_not_shown_is_no_empty_ledger(
    odd_peer: Callable[..., OddPeer], drive: Drive, payload: Any
) -> None:
    peer = odd_peer(lambda socket, request: answer(socket, request, payload))
    with pytest.raises(UnavailableError, match="does not show"):
        drive(peer.address).look_up(work("x"))


def test_an_end_that_is_not_taken_harms_no_other(driver: Driver, heard: Heard) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("not taken")

    assert isinstance(driver.dispatch(work("x", '{"delay": 0.2}', patience=0.0, ended=refuse)), Accepted)
    assert isinstance(
        driver.dispatch(work("y", '{"delay": 0.2}', patience=0.0, ended=heard.ends.append)), Accepted
    )
    assert isinstance(heard.end(), Succeeded)


def test_a_call_whose_time_is_long_over_is_forgotten(
    odd_peer: Callable[..., OddPeer], drive: Drive, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.drivers.openclaw_attempt._LATE", 0.0)
    monkeypatch.setattr("orchestrator.drivers.openclaw_connection._TIDY_EVERY", 0.0)

    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        answer(socket, request, {"status": "accepted"})

    driver = drive(odd_peer(talk).address)
    request = work("x", seconds=0.3, patience=0.0, ended=heard.ends.append)
    assert isinstance(driver.dispatch(request), Accepted)
    connection = driver.gateway._pool(driver.endpoint).open_connection()
    assert connection is not None

    def forgotten() -> bool:
        connection.tell("health", {})  # the thread that reads has to wake for it
        return connection.load == 0

    poll(forgotten)
    assert heard.ends == []


def test_five_hundred_accepted_runs_hold_no_thread(
    gateways: Callable[..., LocalGateway], drive: Drive, heard: Heard
) -> None:
    gateway = gateways(most=600)
    driver = drive(gateway.address)
    driver.dispatch(work("first"))
    before = threading.active_count()
    with ThreadPoolExecutor(20) as pool:
        asked = [
            work(f"n{number}", '{"hang": true}', seconds=60.0, patience=0.0, ended=heard.ends.append)
            for number in range(500)
        ]
        assert {type(found) for found in pool.map(driver.dispatch, asked)} == {Accepted}
    poll(lambda: threading.active_count() <= before + 3)  # two more connections, and the thread that watches
    assert gateway.server.connections <= 3
    for request in asked:
        driver.stop(request)
    poll(lambda: len(heard.ends) == 500, 30)
    assert {error_code(end) for end in heard.ends} == {ErrorCode.CANCELLED}
