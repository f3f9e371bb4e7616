"""Our driver against a real OpenClaw gateway: answers, failures, aborts, time limits."""

import queue
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.errors import ErrorCode
from orchestrator.bridge import Accepted, Piece, Unsent
from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded
from orchestrator.drivers.openclaw_frames import GatewayRefusedError
from tests.openclaw.install import VERSION
from tests.support.dispatches import error_code, name, output, work
from tests.support.openclaw import Bridge, OpenClaw
from tests.support.polling import poll

pytestmark = pytest.mark.openclaw
PRICE = (1000 * 3 + 200 * 0.3 + 50 * 15) * 100  # of tests.support.model.USAGE, in microcents


def test_an_answer_gives_text_output_usage_cost_and_model(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    request = work({"pieces": ['{"score"', ": 7", "}"]})
    assert output(claw_bridge().dispatch(request)) == {
        "text": '{"score": 7}',
        "output": {"score": 7},
        "usage": {"tokens_in": 1200, "tokens_out": 50, "cost_microcents": PRICE},
        "model": "stub/scripted",
    }
    assert len(openclaw.stub.calls(name(request))) == 1


def test_plain_words_are_text_alone(claw_bridge: Bridge) -> None:
    found = output(claw_bridge().dispatch(work({"pieces": ["plain ", "words"]})))
    assert (found["text"], found["output"]) == ("plain words", None)


def test_a_long_answer_comes_whole(claw_bridge: Bridge) -> None:
    assert output(claw_bridge().dispatch(work({"pieces": ["ab " * 10_000 + "end"]})))["text"] == "ab " * 10_000 + "end"


def test_usage_that_the_provider_does_not_tell_stays_unknown(claw_bridge: Bridge) -> None:
    unknown = {"tokens_in": None, "tokens_out": None, "cost_microcents": None}
    assert output(claw_bridge().dispatch(work({"usage": None})))["usage"] == unknown


def test_a_provider_that_refuses_is_a_failed_model(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    """Not by 401, 402 or 403: after one of those the gateway leaves the provider alone for ten minutes."""
    request = work({"status": 400})
    assert error_code(claw_bridge().dispatch(request)) is ErrorCode.LLM_DOWN
    assert len(openclaw.stub.calls(name(request))) == 1


@pytest.mark.parametrize("said", ["", "NO_REPLY"])
def test_an_agent_that_says_nothing_has_failed(claw_bridge: Bridge, said: str) -> None:
    assert error_code(claw_bridge().dispatch(work({"pieces": [said]}))) is ErrorCode.TOOL_FAILED


def test_an_agent_that_is_not_there_is_unavailable(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    request = work(agent="nobody")
    assert error_code(claw_bridge().dispatch(request)) is ErrorCode.AGENT_UNAVAILABLE
    assert openclaw.stub.calls(name(request)) == []


def test_an_agent_and_a_session_that_do_not_match_are_refused(claw_bridge: Bridge) -> None:
    assert error_code(claw_bridge().dispatch(work(session_key="agent:other:wf-x"))) is ErrorCode.VALIDATION


def test_a_wrong_token_is_told_and_nothing_is_sent(claw_bridge: Bridge) -> None:
    driver = claw_bridge(token="wrong")
    outcome = driver.dispatch(work())
    assert isinstance(outcome, Unsent)
    assert "AUTH_TOKEN_MISMATCH" in outcome.reason
    with pytest.raises(GatewayRefusedError, match="AUTH_TOKEN_MISMATCH"):
        driver.ping()


def test_a_ping_tells_version_and_agents(claw_bridge: Bridge) -> None:
    pong = claw_bridge().ping()
    assert pong.version == VERSION
    assert pong.agents is not None
    assert "main" in pong.agents


def test_what_an_agent_writes_is_told_before_it_ends(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    told: queue.SimpleQueue[Piece] = queue.SimpleQueue()
    request = work({"pieces": ["half of ", "it"], "hold": True}, piece=told.put)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(claw_bridge().dispatch, request)
        first = told.get(timeout=30)
        assert (first.text.strip(), future.done()) == ("half of", False)
        openclaw.stub.release()
        assert output(future.result(30))["text"] == "half of it"
    rest = [told.get_nowait() for _ in range(told.qsize())]
    assert first.text + "".join(piece.text for piece in rest) == "half of it"
    assert [piece.tokens for piece in rest if piece.tokens] == [50]


def test_a_run_that_is_waited_for_no_longer_is_parked_and_its_end_passed_on(
    openclaw: OpenClaw, claw_bridge: Bridge
) -> None:
    ends: queue.SimpleQueue[Succeeded | Failed] = queue.SimpleQueue()
    driver = claw_bridge()
    request = work({"pieces": ["half of ", "it"], "hold": True}, patience=1.0, ended=ends.put)
    assert driver.dispatch(request) == Accepted(sent=request.sent)
    poll(lambda: openclaw.stub.calls(name(request)), 30)
    assert driver.look_up(request.sent) is None
    openclaw.stub.release()
    end = ends.get(timeout=30)
    assert output(end)["text"] == "half of it"
    found = poll(lambda: driver.look_up(request.sent), 10)
    assert output(found) == output(end)


def test_work_that_never_arrived_is_known_as_such(claw_bridge: Bridge) -> None:
    assert isinstance(claw_bridge().look_up(work().sent), Again)


def test_an_agent_is_made_and_told_who_it_is(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    driver, agent = claw_bridge(), f"writer-{uuid.uuid4().hex[:8]}"
    driver.provision(agent, {"SOUL.md": "You write as briefly as can be."})
    request = work({"pieces": ["brief"]}, agent=agent)
    assert output(driver.dispatch(request))["text"] == "brief"
    [call] = openclaw.stub.calls(name(request))
    assert "You write as briefly as can be." in str(call.request["messages"])
    driver.provision(agent, {"SOUL.md": "You write at length."})
    request = work(agent=agent)
    assert output(driver.dispatch(request))["text"] == "done"
    [call] = openclaw.stub.calls(name(request))
    assert "You write at length." in str(call.request["messages"])


def test_giving_up_cuts_the_call_to_the_model(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    request = work({"pieces": ["half of ", "it"], "hold": True})
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(claw_bridge().dispatch, request)
        poll(lambda: openclaw.stub.calls(name(request)), 30)
        request.cancelled.set()
        assert future.result(5) == Cancelled()
    poll(lambda: [call.ended for call in openclaw.stub.calls(name(request))] == ["cut"])


def test_stop_ends_a_run_in_the_middle_of_its_stream(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    request, driver = work({"pieces": ["half of ", "it"], "hold": True}), claw_bridge()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.dispatch, request)
        poll(lambda: openclaw.stub.calls(name(request)), 30)
        driver.stop(request.sent)
        assert error_code(future.result(10)) is ErrorCode.CANCELLED
    poll(lambda: [call.ended for call in openclaw.stub.calls(name(request))] == ["cut"])
    driver.stop(request.sent)


def test_the_deadline_ends_the_run(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    driver = claw_bridge()
    assert isinstance(driver.dispatch(work()), Succeeded)  # a first turn takes seconds
    request = work({"pieces": ["half of ", "it"], "hold": True}, seconds=12.0)
    began = time.monotonic()
    assert error_code(driver.dispatch(request)) is ErrorCode.TIMEOUT
    assert 11 < time.monotonic() - began < 17
    poll(lambda: [call.ended for call in openclaw.stub.calls(name(request))] == ["cut"])


def test_sessions_run_beside_each_other_on_one_driver(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    driver = claw_bridge()
    requests = [work({"pieces": [f"number {number}"], "hold": True}) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(driver.dispatch, request) for request in requests]
        poll(lambda: all(openclaw.stub.calls(name(request)) for request in requests), 30)
        openclaw.stub.release()
        texts = [output(future.result(30))["text"] for future in futures]
    assert texts == [f"number {number}" for number in range(6)]


def test_the_runs_of_one_session_follow_each_other(openclaw: OpenClaw, claw_bridge: Bridge) -> None:
    driver = claw_bridge()
    first = work({"pieces": ["first"], "hold": True})
    second = work({"pieces": ["second"]}, session_key=first.sent.session_key)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(driver.dispatch, first)
        poll(lambda: openclaw.stub.calls(name(first)), 30)
        other = pool.submit(driver.dispatch, second)
        assert not openclaw.stub.calls(name(second))
        openclaw.stub.release()
        assert [output(future.result(30))["text"] for future in (one, other)] == ["first", "second"]
    [call] = openclaw.stub.calls(name(second))
    assert name(first) in str(call.request["messages"])
