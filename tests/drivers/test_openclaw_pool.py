"""The OpenClaw driver's connections: shared, few, reopened; a gateway that is away costs its callers little."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from models.errors import OrchestratorError, UnavailableError
from orchestrator.bridge import Endpoint, Pong, Unsent
from orchestrator.core.outcome import Cancelled, Succeeded
from orchestrator.drivers.gateway_local import LocalGateway as LocalDriver
from orchestrator.drivers.openclaw_frames import GatewayDownError
from orchestrator.drivers.openclaw_pool import Pool
from orchestrator.settings import Settings
from tests.support.driving import Drive, Driver, address_file, output, parts, work
from tests.support.gateways import LocalGateway, OddPeer, answer, hello_ok
from tests.support.polling import poll


def final(socket: ServerConnection, request: dict[str, Any]) -> None:
    answer(socket, request, {"status": "ok", "result": {"payloads": [{"text": "done"}], "meta": {}}})


def test_callers_wait_briefly_and_then_not_at_all(local_gateway: LocalGateway, driver: Driver) -> None:
    local_gateway.stop()
    began = time.monotonic()
    found = driver.dispatch(work("x"))
    assert isinstance(found, Unsent)
    assert "no gateway answers" in found.reason
    assert time.monotonic() - began < 2.5
    began = time.monotonic()
    assert all(isinstance(driver.dispatch(work(f"y{number}")), Unsent) for number in range(50))
    assert time.monotonic() - began < 1.0
    local_gateway.start()
    assert isinstance(poll(lambda: sent(driver, "z"), 15, "the circuit to close"), Succeeded)


def sent(driver: Driver, name: str) -> Any:
    found = driver.dispatch(work(name))
    return None if isinstance(found, Unsent) else found


def test_one_caller_at_a_time_tries_a_gateway_that_is_away() -> None:
    tries: list[float] = []
    inside = threading.Semaphore(1)

    def dial() -> Any:
        assert inside.acquire(blocking=False), "two tries at once"
        tries.append(time.monotonic())
        time.sleep(0.02)  # the length of a try, not a wait for something
        inside.release()
        raise GatewayDownError("away", retry_after=0.0)

    pool = Pool(dial, most=3)

    def ask() -> bool:
        with pytest.raises(UnavailableError, match="away"):
            pool.connection(None)
        return True

    with ThreadPoolExecutor(30) as threads:
        assert all(threads.map(lambda _: ask(), range(300)))
    assert len(tries) <= 8  # three, and those that were due meanwhile
    pool.close()


def test_a_wait_never_goes_past_the_deadline(drive: Drive, local_gateway: LocalGateway) -> None:
    local_gateway.server.starting = True
    began = time.monotonic()
    assert isinstance(drive(local_gateway.address).dispatch(work("x", seconds=0.2)), Unsent)
    assert time.monotonic() - began < 0.6


def test_a_gateway_that_starts_is_waited_for(drive: Drive, local_gateway: LocalGateway) -> None:
    local_gateway.server.starting = True
    driver = drive(local_gateway.address)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, work("y"))
        poll(lambda: driver.gateway._pool(driver.endpoint)._trouble.failures)
        local_gateway.server.starting = False
        assert isinstance(future.result(), Succeeded)


def test_a_wait_for_a_gateway_can_be_given_up(drive: Drive, local_gateway: LocalGateway) -> None:
    local_gateway.server.starting = True
    request = work("x", seconds=None)
    request.cancelled.set()
    assert drive(local_gateway.address).dispatch(request) == Cancelled()


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
    odd_peer: Callable[..., OddPeer], drive: Drive, hello: Any, said: str
) -> None:
    found = drive(odd_peer(lambda *_: None, hello=hello).address).dispatch(work("x"))
    assert isinstance(found, Unsent)
    assert said in found.reason


def test_a_wrong_token_is_said_at_once_and_mended_by_another(drive: Drive, local_gateway: LocalGateway) -> None:
    right = drive(local_gateway.address).endpoint
    driver = drive(replace(local_gateway.address, token="wrong"))
    began = time.monotonic()
    found = driver.dispatch(work("x"))
    assert isinstance(found, Unsent)
    assert "AUTH_TOKEN_MISMATCH" in found.reason
    assert time.monotonic() - began < 1.0
    assert isinstance(driver.at(right).dispatch(work("y")), Succeeded)


def test_another_address_gets_another_pool_and_what_runs_ends_well(
    gateways: Callable[..., LocalGateway], drive: Drive
) -> None:
    old, new = gateways(), gateways()
    driver = drive(old.address)
    before = driver.endpoint
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.gateway.dispatch, before, work("x", '{"delay": 0.4}'))
        poll(old.runs)
        driver.at(replace(before, url=new.address.url))
        assert isinstance(driver.dispatch(work("y")), Succeeded)
        assert isinstance(future.result(), Succeeded)
    assert (len(old.runs()), len(new.runs())) == (1, 1)
    poll(lambda: old.server.connections == 0)


def test_a_crowd_opens_a_second_connection(gateways: Callable[..., LocalGateway], drive: Drive) -> None:
    gateway = gateways(most=200)
    driver = drive(gateway.address)
    with ThreadPoolExecutor(130) as pool:
        asked = [pool.submit(driver.dispatch, work(f"c{n}", '{"delay": 0.7}')) for n in range(130)]
        poll(lambda: gateway.server.connections == 2)
        assert all(isinstance(future.result(), Succeeded) for future in asked)


def test_an_unused_connection_closes_and_comes_back(local_gateway: LocalGateway, drive: Drive) -> None:
    driver = drive(local_gateway.address, gateway_pool_ttl=0.1)
    driver.dispatch(work("x"))
    poll(lambda: local_gateway.server.connections == 0)
    assert isinstance(driver.dispatch(work("y")), Succeeded)


def test_pings_are_answered_while_a_run_is_waited_for(odd_peer: Callable[..., OddPeer], drive: Drive) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if request["method"] == "agent":
            answer(socket, request, {"status": "accepted"})
            for _ in range(3):
                assert socket.ping().wait(2), "no pong"
            final(socket, request)

    peer = odd_peer(talk)
    assert output(drive(peer.address).dispatch(work("x")))["text"] == "done"
    assert peer.connections == 1


def test_a_connection_on_which_nothing_is_heard_is_given_up(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if peer.connections > 2:
            final(socket, request)

    peer = odd_peer(talk, tick_ms=100)
    assert output(drive(peer.address).dispatch(work("x")))["text"] == "done"
    assert peer.connections == 3


def test_a_ping_tells_version_and_agents(driver: Driver, local_gateway: LocalGateway) -> None:
    found = driver.gateway.ping(driver.endpoint, 2.0)
    assert isinstance(found, Pong)
    assert found.version == "local"
    assert found.agents is not None
    assert "researcher" in found.agents
    local_gateway.stop()
    with pytest.raises(OrchestratorError):
        poll(lambda: driver.gateway.ping(driver.endpoint, 1.0) is None)
    local_gateway.start()
    assert driver.gateway.ping(driver.endpoint, 2.0).version == "local"  # whenever the next try was due


def test_a_ping_of_a_gateway_that_lists_no_agents(odd_peer: Callable[..., OddPeer], drive: Drive) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if request["method"] == "health":
            answer(socket, request, {"ok": True})
        else:
            refusal = {"type": "res", "id": request["id"], "ok": False, "error": {"code": "FORBIDDEN"}}
            socket.send(json.dumps(refusal))

    driver = drive(odd_peer(talk).address)
    assert driver.gateway.ping(driver.endpoint, 2.0) == Pong(version=None, agents=None)


def test_the_local_gateway_is_found_by_its_file(local_gateway: LocalGateway, tmp_path: Path) -> None:
    gateway, place = LocalDriver(parts(Settings(data_dir=tmp_path))), Endpoint(id="l", kind="local", url="")
    found = gateway.dispatch(place, work("x"))
    assert isinstance(found, Unsent)
    assert "orchestrator.gateway --data-dir" in found.reason
    with pytest.raises(UnavailableError, match=r"gateway\.json does not exist"):
        gateway.stop(place, work("x").sent)
    (tmp_path / "gateway.json").write_text('{"url": 1')
    with pytest.raises(OrchestratorError, match="can't be read"):
        gateway.ping(place, 2.0)
    address_file(tmp_path, local_gateway.address)
    assert gateway.ping(place, 2.0).version == "local"
    assert isinstance(gateway.dispatch(place, work("y")), Succeeded)
    gateway.close()


def test_a_local_gateway_that_moved_is_found(gateways: Callable[..., LocalGateway], tmp_path: Path) -> None:
    gateway, place = LocalDriver(parts(Settings(data_dir=tmp_path))), Endpoint(id="l", kind="local", url="")
    first, second = gateways(), gateways()
    address_file(tmp_path, first.address)
    assert isinstance(gateway.dispatch(place, work("x")), Succeeded)
    address_file(tmp_path, second.address)
    first.stop()
    assert isinstance(gateway.dispatch(place, work("y")), Succeeded)
    assert len(second.runs()) == 1
    gateway.close()
    first.start()
