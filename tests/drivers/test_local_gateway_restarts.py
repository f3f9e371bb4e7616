"""How the local gateway ends and begins again: spec "gateway" §4, Idempotency and recovery."""

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websocket import WebSocketBadStatusException

from orchestrator.drivers.openclaw_handshake import Address
from orchestrator.settings import Settings
from tests.support.gateways import LocalGateway, RawClient, run_params, state_of
from tests.support.polling import poll
from tests.support.processes import StartProgram

Raw = Callable[..., RawClient]


def test_a_stop_lets_runs_end_and_says_goodbye(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    client.connect(caps=["session-scoped-events"])
    id_ = client.request("agent", run_params("last", '@gateway {"delay": 0.2}'))
    client.response(id_)
    boot = local_gateway.server.boot_id
    local_gateway.stop()
    assert client.response(id_)["payload"]["status"] == "ok"
    frames = [client.receive()]
    while frames[-1]["type"] != "close":
        frames.append(client.receive())
    assert frames[-2]["event"] == "shutdown"
    assert frames[-1]["code"] == 1012
    local_gateway.start()
    again = raw(local_gateway.address)
    assert again.connect()["payload"]["server"]["bootId"] != boot
    rows = again.ask("tasks.list", {"sessionKey": "agent:echo:last"})["payload"]["tasks"]
    assert [row["status"] for row in rows] == ["completed"]


def test_the_process_writes_its_address_and_leaves_nothing(
    programs: StartProgram, tmp_path: Path, raw: Raw
) -> None:
    data_dir = tmp_path / "gateway"
    program = programs(Settings(), "-m", "orchestrator.gateway", "--data-dir", str(data_dir))
    file = data_dir / "gateway.json"
    poll(file.exists, 20)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (data_dir / "gateway.db").stat().st_mode & 0o077 == 0
    address = Address(**json.loads(file.read_text()))
    client = raw(address)
    assert client.connect(token=address.token)["ok"]
    program.signal(signal.SIGTERM)
    assert program.stop(10) == 0
    assert not file.exists()


def statuses(gateway: LocalGateway, key: str) -> list[str]:
    """Of the runs of a session, the newest first."""
    return [state_of(row) for row in gateway.runs(key)]


def test_while_it_drains_nothing_new_comes_in(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    client.connect(caps=["session-scoped-events"])
    client.response(client.request("agent", run_params("last", '@gateway {"hang": true}')))
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(local_gateway.stop, 2.0)
        poll(lambda: not client.ask("tasks.list", {})["ok"])
        error = client.ask("agent", run_params("new"))["error"]
        assert (error["code"], error["retryable"]) == ("UNAVAILABLE", True)
        assert error["details"]["reason"] == "gateway-restarting"
        assert client.ask("health", {})["ok"]
        with pytest.raises(WebSocketBadStatusException, match="503"):
            raw(local_gateway.address)
        stopped.result(10)
    local_gateway.start()


def test_what_had_not_begun_when_it_drains_is_refused(
    gateways: Callable[..., LocalGateway], raw: Raw
) -> None:
    gateway = gateways(most=1)
    client = raw(gateway.address)
    client.connect()
    first = client.request("agent", run_params("one", '@gateway {"delay": 0.3}'))
    second = client.request("agent", run_params("two"))
    client.response(first)
    client.response(second)
    gateway.stop()
    final = client.response(second)
    assert (final["ok"], final["error"]["code"]) == (False, "UNAVAILABLE")
    assert final["error"]["message"] == "Gateway is draining; new tasks are not accepted"
    assert client.response(first)["payload"]["status"] == "ok"
    gateway.start()
    assert statuses(gateway, "agent:echo:two") == ["failed"]


def test_a_restart_forgets_what_it_had_answered(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    boot = client.connect()["payload"]["server"]["bootId"]
    client.run(run_params("again", "one"))
    local_gateway.restart()
    client = raw(local_gateway.address)
    assert client.connect()["payload"]["server"]["bootId"] != boot
    waited = client.ask("agent.wait", {"runId": "run:again:1", "timeoutMs": 10})["payload"]
    assert waited == {"runId": "run:again:1", "status": "timeout"}
    assert client.run(run_params("again", "two"))["payload"]["result"]["payloads"][0]["text"] == "two"


HANGING = '@gateway {"hang": true, "times": 1, "reply": "taken up again"}'


def test_after_a_crash_a_turn_is_taken_up_under_another_id(local_gateway: LocalGateway, raw: Raw) -> None:
    key = "agent:echo:turn"
    client = raw(local_gateway.address)
    boot = client.connect()["payload"]["server"]["bootId"]
    client.response(client.request("agent", run_params("turn", HANGING)))
    client.response(client.request("agent", run_params("waiting", sessionKey=key)))
    assert statuses(local_gateway, key) == ["queued", "running"]
    local_gateway.crash()
    assert client.is_cut()
    poll(lambda: statuses(local_gateway, key) == ["completed", "cancelled", "cancelled"])
    heir, _, old = local_gateway.runs(key)
    assert old["runId"] == "run:turn:1"
    assert old["error"] == "Task execution process exited before restart."
    assert heir["runId"] not in ("run:turn:1", "run:waiting:1")
    asked, said = local_gateway.history(key)[-2:]
    assert asked["content"].startswith("[System] Your previous turn was interrupted")
    assert said["content"][0]["text"] == "taken up again"
    again = raw(local_gateway.address)
    assert again.connect()["payload"]["server"]["bootId"] != boot
    waited = again.ask("agent.wait", {"runId": "run:turn:1", "timeoutMs": 10})["payload"]
    assert waited["status"] == "timeout"
    assert "endedAt" not in waited


@pytest.mark.parametrize(("method", "taken_up"), [("sessions.abort", True), ("sessions.delete", False)])
def test_only_deleting_the_session_stops_what_would_be_taken_up(
    gateways: Callable[..., LocalGateway], raw: Raw, method: str, taken_up: bool
) -> None:
    gateway = gateways(resume_after=0.3)
    client = raw(gateway.address)
    client.connect()
    for name in ("this", "other"):
        client.response(client.request("agent", run_params(name, HANGING)))
    gateway.crash()
    admin = raw(gateway.address)
    admin.connect(scopes=["operator.admin"])
    assert admin.ask(method, {"key": "agent:echo:this"})["payload"]["ok"]
    poll(lambda: statuses(gateway, "agent:echo:other") == ["completed", "cancelled"])
    poll(lambda: "running" not in statuses(gateway, "agent:echo:this"))
    assert (len(statuses(gateway, "agent:echo:this")) == 2) is taken_up


def test_a_run_can_crash_its_gateway_once(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    client.connect()
    boot = local_gateway.server.boot_id
    client.request("agent", run_params("boom", '@gateway {"crash": true, "reply": "well"}'))
    poll(lambda: statuses(local_gateway, "agent:echo:boom") == ["completed", "cancelled"])
    assert local_gateway.server.boot_id != boot


def test_a_gateway_that_can_not_crash_says_so(gateways: Callable[..., LocalGateway], raw: Raw) -> None:
    client = raw(gateways(die=None).address)
    client.connect()
    error = client.ask("agent", run_params("boom", '@gateway {"crash": true}'))["error"]
    assert error["message"].startswith("@gateway directive: crash")


def test_a_process_crashes_and_takes_its_turn_up_again(
    programs: StartProgram, tmp_path: Path, raw: Raw
) -> None:
    command = ("-m", "orchestrator.gateway", "--data-dir", str(tmp_path / "gateway"))
    file = tmp_path / "gateway" / "gateway.json"
    first = programs(Settings(), *command)
    poll(file.exists, 20)
    address = Address(**json.loads(file.read_text()))
    client = raw(address)
    client.connect(token=address.token)
    client.request("agent", run_params("boom", '@gateway {"crash": true, "reply": "well"}'))
    assert poll(first.ended) == -signal.SIGKILL
    programs(Settings(), *command)
    poll(lambda: json.loads(file.read_text())["token"] != address.token, 20)
    address = Address(**json.loads(file.read_text()))
    again = raw(address)
    again.connect(token=address.token)
    asked = {"sessionKey": "agent:echo:boom"}
    rows = poll(
        lambda: [
            row for row in again.ask("tasks.list", asked)["payload"]["tasks"] if row["status"] == "completed"
        ]
    )
    assert rows[0]["runId"] != "run:boom:1"


def test_the_process_takes_its_options(programs: StartProgram, tmp_path: Path, raw: Raw) -> None:
    file = tmp_path / "gateway" / "gateway.json"
    options = ["--most", "1", "--tasks-execute", "--pairing", "manual", "--create-delay", "0"]
    programs(
        Settings(),
        "-m",
        "orchestrator.gateway",
        "--data-dir",
        str(file.parent),
        *options,
        "--known-agents-only",
    )
    poll(file.exists, 20)
    address = Address(**json.loads(file.read_text()))
    remote, operator = raw(address), raw(address)
    hello = remote.connect(token=address.token)["payload"]
    assert hello["auth"]["scopes"] == []
    assert "tasks.execute" in hello["features"]["methods"]
    cli = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
    operator.connect(token=address.token, client=cli, scopes=["operator.admin"])
    assert "unknown agent id" in operator.ask("agent", run_params("x"))["error"]["message"]
    assert operator.ask("agents.create", {"name": "echo"})["ok"]
    for name in ("one", "two"):
        operator.response(operator.request("agent", run_params(name, '@gateway {"hang": true}')))
    rows = operator.ask("tasks.list", {})["payload"]["tasks"]
    assert [state_of(row) for row in rows] == ["queued", "running"]
