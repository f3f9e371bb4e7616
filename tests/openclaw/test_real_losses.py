"""Our driver against a real OpenClaw gateway that is lost: nothing is run twice, counted at the model."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import pytest

from models.errors import ErrorCode
from orchestrator.bridge import Dispatch, Unsent
from orchestrator.drivers.openclaw_frames import GatewayDownError
from tests.support.dispatches import error_code, name, output, work
from tests.support.openclaw import Bridge, OpenClaw
from tests.support.polling import poll
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.openclaw, pytest.mark.crash]
ProxyTo = Callable[[str, int], Proxy]
PRICED = {"tokens_in": 1200, "tokens_out": 50, "cost_microcents": 381_000}


def started(openclaw: OpenClaw, request: Dispatch, calls: int = 1) -> None:
    """Wait until the model was called for an attempt."""
    poll(lambda: len(openclaw.stub.calls(name(request))) >= calls, 60, "the call to the model")


def ended(openclaw: OpenClaw, request: Dispatch) -> list[str | None]:
    return [call.ended for call in openclaw.stub.calls(name(request))]


def test_a_lost_socket_finds_its_run_again(openclaw: OpenClaw, claw_bridge: Bridge, proxy: ProxyTo) -> None:
    between = proxy("127.0.0.1", openclaw.port)
    driver = claw_bridge(f"ws://127.0.0.1:{between.port}")
    request = work({"pieces": ["half of ", "it"], "hold": True})
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        started(openclaw, request)
        assert between.cut() > 0
        openclaw.stub.release()
        found = output(future.result(30))
    assert (found["text"], found["usage"]) == ("half of it", PRICED)
    assert ended(openclaw, request) == ["whole"]


def test_a_run_that_ended_while_the_socket_was_away_is_found(
    openclaw: OpenClaw, claw_bridge: Bridge, proxy: ProxyTo
) -> None:
    between = proxy("127.0.0.1", openclaw.port)
    driver = claw_bridge(f"ws://127.0.0.1:{between.port}")
    request = work({"pieces": ["half of ", "it"], "hold": True})
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        started(openclaw, request)
        between.refuse()
        between.cut()
        openclaw.stub.release()
        poll(lambda: openclaw.rows(request.sent.session_key)[0]["status"] == "completed", 30)
        between.accept()
        found = output(future.result(30))
    assert (found["text"], found["usage"]) == ("half of it", PRICED)
    assert ended(openclaw, request) == ["whole"]


def test_a_gateway_that_is_stopped_lets_the_turn_end(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    request = work({"pieces": ["half of ", "it"], "hold": True})
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(claw_bridge().dispatch, request)
        started(openclaw, request)
        openclaw.terminate()
        openclaw.stub.release()
        assert output(future.result(60))["text"] == "half of it"
    openclaw.restart()
    assert ended(openclaw, request) == ["whole"]


def test_what_ended_before_a_restart_is_looked_up_and_not_run_again(
    openclaw: OpenClaw, claw_bridge: Bridge, proxy: ProxyTo
) -> None:
    between = proxy("127.0.0.1", openclaw.port)
    driver = claw_bridge(f"ws://127.0.0.1:{between.port}")
    request = work({"pieces": ["half of ", "it"], "hold": True}, seconds=200)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        started(openclaw, request)
        between.refuse()
        between.cut()
        openclaw.stub.release()
        openclaw.restart()
        between.accept()
        found = output(future.result(60))
    assert (found["text"], found["usage"]) == ("half of it", PRICED)
    assert ended(openclaw, request) == ["whole"]


def test_a_gateway_between_two_steps_may_restart(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    driver = claw_bridge()
    first, second = work({"pieces": ["one"]}), work({"pieces": ["two"]})
    assert output(driver.dispatch(first))["text"] == "one"
    openclaw.restart()
    assert output(driver.dispatch(second))["text"] == "two"
    assert ended(openclaw, first) == ended(openclaw, second) == ["whole"]


def test_a_killed_gateway_takes_the_turn_up_again_and_the_step_adopts_it(
    openclaw: OpenClaw, claw_bridge: Bridge
) -> None:
    request = work({"pieces": ["half of ", "it"], "hold": True, "times": 1}, seconds=250)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(claw_bridge().dispatch, request)
        started(openclaw, request)
        openclaw.kill()
        openclaw.start()
        assert output(future.result(120))["text"] == "done"
    assert ended(openclaw, request) == ["cut", "whole"]
    [heir, lost] = openclaw.rows(request.sent.session_key)
    assert (heir["status"], lost["status"], lost["runId"]) == (
        "completed",
        "cancelled",
        request.sent.key,
    )


def test_the_answer_to_a_lost_attempt_is_taken_over(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    request = work({"pieces": ["once"]})
    first = output(claw_bridge().dispatch(request))
    again = replace(
        request,
        sent=replace(request.sent, session_key=request.sent.session_key.replace("-a1", "-a2"), key="another:step:2"),
        earlier=(request.sent,),
        deadline=time.monotonic() + 60,
    )
    assert output(claw_bridge().dispatch(again)) == first
    assert ended(openclaw, request) == ["whole"]


def test_what_is_looked_up_used_as_much_as_what_was_answered(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    """The gateway asks its model again after an empty reply: two calls, and one run that paid for both."""
    driver, request = claw_bridge(), work({"pieces": [""], "times": 1})
    answered = driver.dispatch(request)
    assert output(answered)["usage"]["tokens_in"] == 2400
    assert driver.look_up(request.sent) == answered


def test_usage_that_nobody_told_is_unknown_when_it_is_looked_up(claw_bridge: Bridge) -> None:
    driver, request = claw_bridge(), work({"usage": None})
    answered = output(driver.dispatch(request))
    assert output(driver.look_up(request.sent))["usage"] == answered["usage"]


def test_a_step_that_comes_while_the_gateway_drains_is_not_sent(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    driver = claw_bridge()
    held, late = work({"pieces": ["half of ", "it"], "hold": True}), work()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, held)
        started(openclaw, held)
        openclaw.terminate()
        poll(lambda: not openclaw.is_ready(), 20, "the gateway's draining")
        assert isinstance(driver.dispatch(late), Unsent)
        openclaw.stub.release()
        assert output(future.result(60))["text"] == "half of it"
    openclaw.restart()
    assert output(driver.dispatch(late))["text"] == "done"
    assert ended(openclaw, late) == ["whole"]


def test_turns_that_wait_to_be_taken_up_are_waited_for(
    openclaw: OpenClaw, claw_bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that crashed takes its sessions up one at a time, the next one when the last has ended."""
    monkeypatch.setattr("orchestrator.drivers.openclaw_fate.RESUME_WITHIN", 0.0)  # what the session says counts
    driver = claw_bridge()
    first = work({"pieces": ["first"], "hold": True}, session_key="agent:main:wf-0-first", seconds=120)
    second = work({"pieces": ["second"], "hold": True}, session_key="agent:main:wf-1-second", seconds=120)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(driver.dispatch, request) for request in (first, second)]
        for request in (first, second):
            started(openclaw, request)
        openclaw.kill()
        openclaw.start()
        started(openclaw, first, 2)
        wait({futures[1]}, 20)  # longer than a lone turn takes to be taken up
        assert not futures[1].done(), futures[1].result()
        for request in (first, second):
            started(openclaw, request, 2)
            openclaw.stub.release()
        assert [output(future.result(60))["text"] for future in futures] == ["first", "second"]
    assert ended(openclaw, first) == ended(openclaw, second) == ["cut", "whole"]


def test_the_deadline_ends_a_turn_that_was_taken_up_again(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    """The time limit that came with the run does not hold for it."""
    driver = claw_bridge()
    request = work({"pieces": ["half of ", "it"], "hold": True}, seconds=60)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        started(openclaw, request)
        openclaw.kill()
        openclaw.start()
        started(openclaw, request, 2)
        assert error_code(future.result(70)) is ErrorCode.TIMEOUT
    poll(lambda: ended(openclaw, request) == ["cut", "cut"], 5, "the end of the turn")


def _stops(driver: Any, request: Dispatch) -> bool:
    """As the engine does: a stop for which there is no connection is tried again."""
    try:
        driver.stop(request.sent)
    except GatewayDownError:
        return False
    return True


def test_a_stop_ends_a_turn_that_was_taken_up_again(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    driver = claw_bridge()
    request = work({"pieces": ["half of ", "it"], "hold": True}, seconds=200)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        started(openclaw, request)
        openclaw.kill()
        openclaw.start()
        started(openclaw, request, 2)
        poll(lambda: _stops(driver, request), 30, "a connection to stop it by")
        assert error_code(future.result(30)) is ErrorCode.CANCELLED
    assert ended(openclaw, request) == ["cut", "cut"]


def test_a_turn_that_was_queued_at_the_crash_is_sent_again(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    driver = claw_bridge()
    first = work({"pieces": ["first"], "hold": True, "times": 1}, seconds=200)
    second = work({"pieces": ["second"]}, session_key=first.sent.session_key, seconds=200)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(driver.dispatch, first)
        started(openclaw, first)
        other = pool.submit(driver.dispatch, second)
        poll(lambda: len(openclaw.rows(first.sent.session_key)) == 2, 20, "the second run's row")
        openclaw.kill()
        openclaw.start()
        assert output(one.result(100))["text"] == "done"
        assert output(other.result(100))["text"] == "second"
    assert ended(openclaw, first) == ["cut", "whole"]
    assert ended(openclaw, second) == ["whole"]
