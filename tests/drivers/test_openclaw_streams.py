"""The OpenClaw driver: what an agent writes reaches the client once, and is counted."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from models.errors import ErrorCode
from orchestrator.bridge import Accepted, Piece
from orchestrator.core.outcome import Failed
from orchestrator.drivers.openclaw_outcome import aborted
from orchestrator.drivers.openclaw_stream import Stream
from tests.support.driving import Drive, Driver, Heard, error_code, output, work
from tests.support.gateways import LocalGateway, OddPeer, answer
from tests.support.polling import poll
from tests.support.proxy import Proxy

PIECES = '{"stream": ["one ", "two ", "three"], "pause": 0.1}'


def said(**data: Any) -> dict[str, Any]:
    return {"stream": "assistant", "data": data}


def test_pieces_come_before_the_end_and_make_the_text(driver: Driver, heard: Heard) -> None:
    found = output(driver.dispatch(work("x", PIECES, piece=heard.pieces.append)))
    assert heard.text == found["text"] == "one two three"
    assert len([piece for piece in heard.pieces if piece.text]) == 3
    assert heard.pieces[-1].tokens == found["usage"]["tokens_out"]


def test_pieces_go_on_after_the_patience(driver: Driver, heard: Heard) -> None:
    request = work("x", PIECES, patience=0.05, ended=heard.ends.append, piece=heard.pieces.append)
    assert isinstance(driver.dispatch(request), Accepted)
    assert output(heard.end())["text"] == heard.text == "one two three"


def test_without_a_listener_nothing_is_subscribed(driver: Driver, local_gateway: LocalGateway) -> None:
    driver.dispatch(work("x", PIECES))
    assert [peer.sessions for peer in local_gateway.server._peers] == [set()]


def test_the_subscription_ends_with_the_run(driver: Driver, heard: Heard, local_gateway: LocalGateway) -> None:
    driver.dispatch(work("x", PIECES, piece=heard.pieces.append))
    poll(lambda: [peer.sessions for peer in local_gateway.server._peers] == [set()])


def test_an_aborted_stream_is_paid(driver: Driver, heard: Heard) -> None:
    directive = '{"stream": ["half ", "of it"], "pause": 0.1, "hang": true}'
    request = work("x", directive, patience=0.0, ended=heard.ends.append, piece=heard.pieces.append)
    assert isinstance(driver.dispatch(request), Accepted)
    poll(lambda: heard.text == "half of it" and heard.pieces[-1].tokens)
    driver.stop(request)
    end = heard.end()
    assert error_code(end) is ErrorCode.CANCELLED
    assert end.usage is not None
    assert end.usage.tokens_out == heard.pieces[-1].tokens > 0
    assert end.usage.agent == "echo"


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ('{"stream": ["half ", "of it"], "fail": "model"}', ErrorCode.LLM_DOWN),
        ('{"stream": ["half ", "of it"], "pause": 0.1, "hang": true}', ErrorCode.TIMEOUT),
    ],
)
def test_what_failed_after_some_text_is_paid(
    driver: Driver, heard: Heard, directive: str, code: ErrorCode
) -> None:
    found = driver.dispatch(work("x", directive, seconds=1.0, piece=heard.pieces.append))
    assert error_code(found) is code
    assert found.usage.tokens_out > 0


def test_a_lost_socket_neither_doubles_nor_loses_text(
    local_gateway: LocalGateway, drive: Drive, heard: Heard, proxy: Callable[[str, int], Proxy]
) -> None:
    between = proxy("127.0.0.1", local_gateway.port)
    cut: list[int] = []

    def take(piece: Piece) -> None:
        heard.pieces.append(piece)
        if not cut and piece.text:
            cut.append(between.cut())

    driver = drive(replace(local_gateway.address, url=f"ws://127.0.0.1:{between.port}"))
    directive = json.dumps({"stream": [f"{number} " for number in range(10)], "pause": 0.1})
    found = output(driver.dispatch(work("x", directive, piece=take)))
    assert cut == [1]
    assert heard.text == found["text"]


def test_a_listener_that_fails_harms_no_run(driver: Driver) -> None:
    def refuse(_: Piece) -> None:
        raise RuntimeError("not taken")

    assert output(driver.dispatch(work("x", PIECES, piece=refuse)))["text"] == "one two three"


def test_events_of_other_runs_are_not_ours(odd_peer: Callable[..., OddPeer], drive: Drive, heard: Heard) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if request["method"] != "agent":
            return
        for run_id in ("somebody else's", "run:x:1"):
            payload = {"runId": run_id, "sessionKey": "agent:echo:other"} | said(delta=run_id)
            socket.send(json.dumps({"type": "event", "event": "agent", "payload": payload}))
        answer(socket, request, {"status": "ok", "result": {"payloads": [{"text": "done"}]}})

    drive(odd_peer(talk).address).dispatch(work("x", piece=heard.pieces.append))
    assert heard.text == "run:x:1"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([said(text="a", delta="a"), said(text="ab", delta="b")], "ab"),
        ([said(text="a", delta="a"), said(text="a", delta="a"), said(text="ab", delta="b")], "ab"),
        ([said(text="a", delta="a"), said(text="abc", delta="c")], "abc"),  # one was lost
        ([said(delta="a"), said(delta="b")], "ab"),
        ([said(text="abc", delta="c"), said(text="ab", delta="b")], "abc"),  # they overtook each other
        ([said(text="a", delta="a", itemId="1"), said(text="a", delta="a", itemId="2")], "aa"),
        ([said(text="first", delta="first"), said(text="next", delta="next")], "firstnext"),
    ],
)
def test_each_text_is_told_once(events: list[dict[str, Any]], expected: str, heard: Heard) -> None:
    stream = Stream(heard.pieces.append)
    for event in events:
        stream.take(event)
    assert heard.text == expected


def test_a_second_end_after_an_abort_is_no_new_run(heard: Heard) -> None:
    stream = Stream(heard.pieces.append)
    for event in (
        said(text="a", delta="a"),
        {"stream": "lifecycle", "data": {"phase": "end"}},
        {"stream": "lifecycle", "data": {"phase": "error"}, "seq": 1},
        said(text="b", delta="b"),
    ):
        stream.take(event)
    assert heard.text == "a"


def test_tokens_that_nobody_counted_are_estimated(heard: Heard) -> None:
    stream = Stream(heard.pieces.append)
    assert stream.count_in("echo", aborted()).usage is None
    stream.take({"stream": "lifecycle", "data": {"phase": "model", "provider": "p", "model": "m"}})
    stream.take(said(text="12345", delta="12345"))
    estimated = stream.count_in("echo", aborted())
    assert isinstance(estimated, Failed)
    assert estimated.usage is not None
    assert (estimated.usage.tokens_out, estimated.usage.model) == (2, "p/m")
    stream.take({"stream": "usage", "data": {"outputTokens": 9}})
    stream.take({"stream": "usage", "data": {"outputTokens": 3}})
    counted = stream.count_in("echo", aborted()).usage
    assert counted is not None
    assert counted.tokens_out == 9
