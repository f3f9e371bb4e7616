"""The OpenClaw driver: nothing is run twice, and nothing lost, over lost sockets, restarts, crashes, lost workers."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from models.errors import ErrorCode, UnavailableError
from orchestrator.bridge import Accepted, Endpoint
from orchestrator.core.outcome import Again, Failed, Succeeded
from orchestrator.drivers.gateway_local import LocalGateway as LocalDriver
from orchestrator.settings import Settings
from tests.support.driving import Drive, Driver, Heard, error_code, later, output, parts, settle, work
from tests.support.gateways import LocalGateway, OddPeer, Talk, answer, hello_ok
from tests.support.polling import poll
from tests.support.processes import StartProgram
from tests.support.proxy import Proxy

Between = tuple[Driver, Proxy]


@pytest.fixture
def between(local_gateway: LocalGateway, drive: Drive, proxy: Callable[[str, int], Proxy]) -> Between:
    """A driver whose way to the gateway can be cut."""
    way = proxy("127.0.0.1", local_gateway.port)
    return drive(replace(local_gateway.address, url=f"ws://127.0.0.1:{way.port}")), way


@pytest.mark.parametrize("directive", ['{"delay": 0.4}', '{"delay": 0.05}'])
def test_a_lost_socket_finds_its_run_again(
    local_gateway: LocalGateway, between: Between, directive: str
) -> None:
    driver, way = between
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, work("x", directive))
        poll(local_gateway.runs)
        way.cut()
        assert output(future.result())["output"] == {"name": "x"}
    assert [row["status"] for row in local_gateway.runs()] == ["completed"]


def test_a_restarted_gateway_is_asked_before_anything_is_sent_again(
    local_gateway: LocalGateway, between: Between
) -> None:
    driver, way = between
    directive = '{"delay": 0.3, "usage": {"input": 10, "output": 2, "cost": 0.5}}'
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, work("x", directive))
        poll(local_gateway.runs)
        way.refuse()
        way.cut()
        local_gateway.restart()
        way.accept()
        found = output(future.result())
    assert found["output"] == {"name": "x"}
    assert found["usage"]["cost_microcents"] == 50_000_000
    assert len(local_gateway.runs()) == 1


def test_a_gateway_that_stays_away_leaves_sent_work_to_the_look_up(
    local_gateway: LocalGateway, between: Between, heard: Heard
) -> None:
    driver, way = between
    request = work("x", '{"delay": 0.3}', patience=1.0, ended=heard.ends.append)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        poll(local_gateway.runs)
        way.refuse()
        way.cut()
        assert future.result(5) == Accepted(sent=request.sent)
    with pytest.raises(UnavailableError):
        driver.look_up(request)
    way.accept()
    assert isinstance(settle(driver.gateway, driver.endpoint, request), Succeeded)
    assert len(local_gateway.runs()) == 1


def test_a_restart_in_the_middle_of_a_hundred_calls_loses_and_doubles_none(
    local_gateway: LocalGateway, driver: Driver, heard: Heard
) -> None:
    def done(number: int) -> Any:
        request = work(f"r{number}", f'{{"delay": {number / 100}}}', seconds=60.0, patience=0.5)
        return settle(driver.gateway, driver.endpoint, request)

    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(done, number) for number in range(100)]
        poll(lambda: len(local_gateway.runs()) >= 40)
        local_gateway.restart()
        names = [output(future.result())["output"]["name"] for future in asked]
    assert sorted(names) == sorted(f"r{number}" for number in range(100))
    rows = [row for row in local_gateway.runs() if row["status"] == "completed"]
    assert len(rows) == len({row["runId"] for row in rows}) == 100
    assert len(local_gateway.runs()) == 100
    assert isinstance(driver.dispatch(work("after")), Succeeded)


def test_a_crashed_gateway_resumes_the_run_and_the_step_takes_it_over(
    driver: Driver, local_gateway: LocalGateway
) -> None:
    directive = '{"crash": true, "delay": 0.2, "reply": "taken up again"}'
    assert output(driver.dispatch(work("x", directive, seconds=20.0)))["text"] == "taken up again"
    assert len(local_gateway.runs()) == 2  # the crashed one and its heir


def test_a_crash_of_the_process_is_survived(programs: StartProgram, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    command = ("-m", "orchestrator.gateway", "--data-dir", str(settings.data_dir))
    first = programs(Settings(), *command)
    poll((settings.data_dir / "gateway.json").exists, 20)
    gateway, place = LocalDriver(parts(settings)), Endpoint(id="local", kind="local", url="")
    with ThreadPoolExecutor(1) as pool:
        directive = '{"hang": true, "times": 1, "reply": "taken up again"}'
        future = pool.submit(gateway.dispatch, place, work("x", directive, seconds=30.0))
        poll(lambda: b"run:x:1" in (settings.data_dir / "gateway.db-wal").read_bytes(), 10)
        first.kill()
        programs(Settings(), *command)
        assert output(future.result())["text"] == "taken up again"
    gateway.close()


def crashed(driver: Driver, gateway: LocalGateway, heard: Heard, name: str = "x") -> Any:
    """An accepted run that hangs, in a gateway that crashes; taken up again it hangs too."""
    request = work(name, '{"hang": true}', seconds=60.0, patience=0.1, ended=heard.ends.append)
    assert isinstance(driver.dispatch(request), Accepted)
    gateway.crash()
    return request


def test_a_look_up_waits_for_the_heir_of_a_crashed_run(
    gateways: Callable[..., LocalGateway], drive: Drive, heard: Heard
) -> None:
    gateway = gateways(resume_after=0.5)
    driver = drive(gateway.address)
    request = crashed(driver, gateway, heard)
    assert driver.look_up(request) is None
    poll(lambda: len(gateway.runs()) == 2)
    assert driver.look_up(request) is None
    driver.stop(request)
    poll(lambda: {row["status"] for row in gateway.runs()} == {"cancelled"})
    assert error_code(driver.look_up(request)) is ErrorCode.CANCELLED


def test_the_deadline_ends_the_heir_too(driver: Driver, local_gateway: LocalGateway) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, work("x", '{"hang": true}', seconds=3.0))
        poll(lambda: [row["status"] for row in local_gateway.runs()] == ["running"])
        local_gateway.crash()
        assert error_code(future.result()) is ErrorCode.TIMEOUT
    poll(lambda: [row["status"] for row in local_gateway.runs()] == ["cancelled", "cancelled"])


SAID = "Task execution process exited before restart."
MINUTES = 60_000


def row(run: str, created: int, **more: int | str) -> dict[str, Any]:
    return {"runId": run, "createdAt": created, "startedAt": created} | more


def ledger(rows: list[dict[str, Any]], session: dict[str, Any], told: list[Any] | None = None) -> Talk:
    """A gateway that shows these rows and this session, whatever is asked."""

    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if told is not None:
            told.append(request["method"])
        shown = {"sessions.describe": {"session": session}, "sessions.abort": {"status": "no-active-run"}}
        answer(socket, request, shown.get(request["method"], {"tasks": rows}))

    return talk


def test_turns_are_taken_up_one_after_the_other(odd_peer: Callable[..., OddPeer], drive: Drive) -> None:
    rows = [row("run:x:1", 1, status="cancelled", terminalSummary=SAID, endedAt=10 * MINUTES)]
    session = {"status": "running", "abortedLastRun": True}
    old = hello_ok() | {"snapshot": {"uptimeMs": 20 * MINUTES}}
    driver = drive(odd_peer(ledger(rows, session), hello=old).address)
    assert driver.look_up(work("x")) is None  # it still waits for its turn
    session["abortedLastRun"] = False
    assert error_code(driver.look_up(work("x"))) is ErrorCode.AGENT_UNAVAILABLE
    rows.append(row("heir", 11 * MINUTES, status="running"))
    assert driver.look_up(work("x")) is None


def test_a_run_behind_another_is_sent_again_once_that_has_ended(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    """It takes over no answer of that one, and a stop of it does not end that one."""
    cut = {"status": "cancelled", "terminalSummary": SAID, "endedAt": 9_000}
    heir, told = row("heir", 9_500, status="running"), list[Any]()
    rows = [heir, row("run:x:1", 2, **cut), row("run:first:1", 1, **cut)]
    driver = drive(odd_peer(ledger(rows, {}, told)).address)
    assert driver.look_up(work("x")) is None
    assert driver.look_up(work("first")) is None  # followed by its heir
    driver.stop(work("x"))
    assert told.count("sessions.abort") == 1  # of its own id
    heir["status"] = "completed"
    assert driver.look_up(work("x")) == Again()


def test_a_key_that_a_crash_has_spent_is_followed_by_another(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    """Under its first key the gateway begins no run any more; the one under the next is found from the first."""
    spent = "Pending input ownership ended; submit a new turn to continue"
    rows = [row("run:x:1", 2, status="failed", error=spent)]

    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if request["method"] != "agent":
            answer(socket, request, {"tasks": rows})
            return
        key = request["params"]["idempotencyKey"]
        said: dict[str, Any] = {"ok": False, "error": {"code": "UNAVAILABLE", "message": spent}}
        said["payload"] = {"runId": key, "status": "error"}
        if key == "run:x:1~":
            result = {"payloads": [{"text": "done"}]}
            said = {"ok": True, "payload": {"runId": key, "status": "ok", "result": result}}
        socket.send(json.dumps({"type": "res", "id": request["id"]} | said))

    driver = drive(odd_peer(talk).address)
    assert output(driver.dispatch(work("x")))["text"] == "done"
    assert driver.look_up(work("x")) == Again()
    rows.append(row("run:x:1~", 3, status="running"))
    assert driver.look_up(work("x")) is None


def test_a_run_behind_one_that_nobody_takes_up_is_sent_again(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    cut = {"status": "cancelled", "terminalSummary": SAID, "endedAt": 9_000}
    rows, session = [row("run:x:1", 2, **cut), row("run:first:1", 1, **cut)], {"abortedLastRun": True}
    old = hello_ok() | {"snapshot": {"uptimeMs": 20 * MINUTES}}
    driver = drive(odd_peer(ledger(rows, session), hello=old).address)
    session["status"] = "running"
    assert driver.look_up(work("x")) is None
    session["status"] = "idle"
    assert driver.look_up(work("x")) == Again()


def test_a_transcript_counts_every_call_to_the_model(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    def said(text: str, tokens: int, cost: float) -> dict[str, Any]:
        usage = {"input": tokens, "output": tokens, "cacheRead": 0, "cost": {"total": cost}}
        message = {"role": "assistant", "content": [{"type": "text", "text": text}], "usage": usage}
        return message | {"provider": "p", "model": "m", "__openclaw": {"runId": "run:x:1"}}

    messages = [said("looking", 10, 0.01), said("found", 20, 0.02), said("other", 5, 1.0)]
    messages[-1]["__openclaw"] = {"runId": "another"}
    answers = {
        "tasks.list": {"tasks": [{"runId": "run:x:1", "status": "completed"}]},
        "chat.history": {"messages": messages},
    }
    driver = drive(odd_peer(lambda socket, request: answer(socket, request, answers[request["method"]])).address)
    found = output(driver.look_up(work("x")))
    assert (found["text"], found["model"]) == ("found", "p/m")
    assert found["usage"] == {"tokens_in": 30, "tokens_out": 30, "cost_microcents": 3_000_000}
    messages[1] = said("found", 0, 0.0)  # nobody told
    usage = {"tokens_in": None, "tokens_out": None, "cost_microcents": None}
    assert output(driver.look_up(work("x")))["usage"] == usage


def test_a_stop_before_the_heir_is_there_is_to_be_tried_again(
    gateways: Callable[..., LocalGateway], drive: Drive, heard: Heard
) -> None:
    gateway = gateways(resume_after=0.5)
    driver = drive(gateway.address)
    request = crashed(driver, gateway, heard)
    with pytest.raises(UnavailableError, match="may yet take"):
        driver.stop(request)
    poll(lambda: len(gateway.runs()) == 2)
    driver.stop(request)
    poll(lambda: {row["status"] for row in gateway.runs()} == {"cancelled"})


def test_a_crashed_run_that_nobody_takes_up_fails_in_the_end(
    gateways: Callable[..., LocalGateway], drive: Drive, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = gateways(resume_after=60.0)
    driver = drive(gateway.address)
    request = crashed(driver, gateway, heard)
    assert driver.look_up(request) is None
    monkeypatch.setattr("orchestrator.drivers.openclaw_fate.RESUME_WITHIN", 0.0)
    found = driver.look_up(request)
    assert error_code(found) is ErrorCode.AGENT_UNAVAILABLE
    assert found.error.transient


def test_a_run_that_was_queued_when_the_gateway_crashed_is_sent_again(
    gateways: Callable[..., LocalGateway], drive: Drive, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.drivers.openclaw_fate.RESUME_WITHIN", 0.0)
    gateway = gateways(most=1, resume_after=60.0)
    driver = drive(gateway.address)
    running = work("running", '{"hang": true}', patience=0.0)
    assert isinstance(driver.dispatch(running), Accepted)
    poll(lambda: [row["status"] for row in gateway.runs()] == ["running"])
    queued = work("queued", patience=0.0)
    assert isinstance(driver.dispatch(queued), Accepted)
    gateway.crash()
    assert driver.look_up(queued) == Again()
    assert isinstance(settle(driver.gateway, driver.endpoint, queued), Succeeded)


def test_the_answer_to_a_lost_attempt_is_taken_over(
    driver: Driver, drive: Drive, local_gateway: LocalGateway
) -> None:
    request = work("x", '{"delay": 0.3}')
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(driver.dispatch, request)
        poll(local_gateway.runs)
        second = pool.submit(drive(local_gateway.address).dispatch, later(request))
        assert output(first.result()) == output(second.result())
    assert output(drive(local_gateway.address).dispatch(later(request)))["output"] == {"name": "x"}
    assert len(local_gateway.runs()) == 1


def test_a_lost_attempt_that_goes_on_is_accepted_in_its_own_name(
    driver: Driver, drive: Drive, local_gateway: LocalGateway
) -> None:
    request = work("x", '{"delay": 0.6}', patience=0.1)
    assert isinstance(driver.dispatch(request), Accepted)
    other = drive(local_gateway.address)
    assert other.dispatch(later(request)) == Accepted(sent=request.sent)
    assert output(poll(lambda: other.look_up(request)))["output"] == {"name": "x"}
    assert len(local_gateway.runs()) == 1


@pytest.mark.parametrize("directive", ["", '{"fail": "model", "times": 1}'])
def test_a_lost_attempt_that_gave_nothing_is_followed_by_a_new_run(
    driver: Driver, local_gateway: LocalGateway, directive: str
) -> None:
    request = work("x", directive)
    if directive:
        assert error_code(driver.dispatch(request)) is ErrorCode.LLM_DOWN
    assert output(driver.dispatch(later(request)))["output"] == {"name": "x"}
    assert local_gateway.runs()[0]["runId"] == "run:x:2"


def test_a_ledger_that_goes_round_in_circles_has_an_end(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    rows = [
        {"runId": run, "status": "cancelled", "terminalSummary": SAID, "createdAt": 1, "startedAt": 1}
        for run in ("run:x:1", "heir", "other")
    ]
    peer = odd_peer(lambda socket, request: answer(socket, request, {"tasks": rows}))
    assert drive(peer.address).look_up(work("x")) in (None, Again())


def test_an_answer_that_is_not_in_the_transcript_is_asked_for(
    odd_peer: Callable[..., OddPeer], drive: Drive
) -> None:
    answers: dict[str, Any] = {
        "tasks.list": {"tasks": [{"runId": "run:x:1", "status": "completed"}]},
        "chat.history": {"messages": []},
        "agent.wait": {"status": "ok", "terminalReply": {"disposition": "visible", "text": "in memory"}},
    }
    peer = odd_peer(lambda socket, request: answer(socket, request, answers[request["method"]]))
    driver = drive(peer.address)
    assert output(driver.look_up(work("x")))["text"] == "in memory"
    answers["agent.wait"]["terminalReply"]["text"] = "x" * 4096  # cut: not the whole answer
    lost = driver.look_up(work("x"))
    assert isinstance(lost, Failed)
    assert (lost.error.code, lost.error.transient) == (ErrorCode.TOOL_FAILED, False)
