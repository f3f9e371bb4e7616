"""Whatever a gateway sends, the driver answers with an outcome and goes on."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.server import ServerConnection

from models.errors import ErrorCode, OrchestratorError
from orchestrator.bridge import Unsent
from orchestrator.core.agent_answer import json_object
from orchestrator.core.outcome import Failed, Succeeded
from orchestrator.drivers.openclaw_frames import Response, parse
from orchestrator.drivers.openclaw_outcome import outcome
from orchestrator.drivers.openclaw_stream import Stream
from tests.support.driving import Drive, Driver, Heard, work
from tests.support.gateways import OddPeer, answer, hello_ok

WANTED = (
    "type id ok payload error code message details retryable retryAfterMs status result payloads meta agentMeta "
    "usage cost total text isError stopReason endedAt tasks messages runId input output model costUsd role "
    "__openclaw content createdAt startedAt sessionKey stream data delta itemId phase outputTokens agents "
    "terminalSummary"
)
KEYS = st.sampled_from(WANTED.split())
WORDS = st.sampled_from(
    [
        "ok",
        "error",
        "timeout",
        "accepted",
        "in_flight",
        "rpc",
        "completed",
        "running",
        "cancelled",
        "UNAVAILABLE",
        "assistant",
        "usage",
        "lifecycle",
        "run:x:1",
        "process exited",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
REAL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FAST = settings(max_examples=150, deadline=None)


class Mouth:
    """A peer whose hello and every answer are what the current example says."""

    def __init__(self) -> None:
        self.hello: Any = hello_ok()
        self.noise: list[str | bytes] = []
        self.payload: Any = None

    def talk(self, socket: ServerConnection, request: dict[str, Any]) -> None:
        for message in self.noise:
            socket.send(message)
        answer(socket, request, self.payload)


@pytest.fixture
def mouth() -> Mouth:
    return Mouth()


@pytest.fixture
def driver(mouth: Mouth, odd_peer: Callable[..., OddPeer], drive: Drive) -> Driver:
    return drive(odd_peer(mouth.talk).address)


DONE = {"status": "ok", "result": {"payloads": [{"text": "done"}]}}


@REAL
@given(noise=st.lists(st.text(max_size=40) | st.binary(max_size=40) | VALUES.map(json.dumps), max_size=6))
def test_noise_before_the_answer_changes_nothing(
    driver: Driver, mouth: Mouth, noise: list[str | bytes]
) -> None:
    mouth.noise = noise
    mouth.payload = DONE
    found = driver.dispatch(work("x", seconds=5.0))
    assert isinstance(found, Succeeded)
    assert found.output["text"] == "done"


@REAL
@given(payload=VALUES)
def test_any_answer_gives_an_outcome_and_the_next_run_is_fine(
    driver: Driver, mouth: Mouth, payload: Any
) -> None:
    mouth.noise, mouth.payload = [], payload
    found = driver.dispatch(work("x", seconds=0.15))
    if isinstance(found, Failed):
        assert found.error.code is not ErrorCode.INTERNAL
    else:
        assert isinstance(found, Succeeded | Unsent)
    mouth.payload = DONE
    assert isinstance(driver.dispatch(work("x", seconds=5.0)), Succeeded)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 64,
        b"\xff" * 64,
        b"\x81\x85abcd12345",  # masked, which a server must not
        b"\x88\x01\x00",  # a close with half a code
        b"\xf1\x02ok",  # reserved bits
        b"\x89\x7e\x01\x00" + b"x" * 256,  # a ping that is too long
        b"\x83\x00",  # a reserved opcode
        b"\x81\x02\xff\xfe",  # text that is no UTF-8
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_bytes_that_are_no_frames_cost_the_connection_only(
    odd_peer: Callable[..., OddPeer], drive: Drive, data: bytes
) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if peer.connections == 1:
            socket.socket.sendall(data)
            socket.socket.shutdown(2)
        else:
            answer(socket, request, {"status": "ok", "result": {"payloads": [{"text": "done"}]}})

    peer = odd_peer(talk)
    assert isinstance(drive(peer.address).dispatch(work("x", seconds=5.0)), Succeeded)
    assert peer.connections == 2


EVENTS = st.fixed_dictionaries(
    {"runId": st.just("run:x:1"), "stream": st.sampled_from(["assistant", "usage", "lifecycle", ""])},
    optional={"data": VALUES | st.dictionaries(KEYS, VALUES, max_size=5), "sessionKey": VALUES},
)


@REAL
@given(events=st.lists(EVENTS | VALUES, max_size=6), patience=st.sampled_from([None, 0.0]))
def test_events_of_any_kind_change_no_outcome(
    driver: Driver, mouth: Mouth, events: list[Any], patience: float | None
) -> None:
    heard = Heard()
    mouth.noise = [json.dumps({"type": "event", "event": "agent", "payload": event}) for event in events]
    mouth.payload = DONE
    request = work("x", seconds=5.0, patience=patience, piece=heard.pieces.append, ended=heard.ends.append)
    assert isinstance(driver.dispatch(request), Succeeded)
    assert all(isinstance(piece.text, str) for piece in heard.pieces)


@REAL
@given(payload=VALUES)
def test_any_answer_to_a_question_is_read_or_refused(driver: Driver, mouth: Mouth, payload: Any) -> None:
    mouth.noise, mouth.payload = [], payload
    questions: list[Callable[[], object]] = [
        lambda: driver.look_up(work("x")),
        lambda: driver.gateway.ping(driver.endpoint, 2.0),
        lambda: driver.stop(work("x")),
    ]
    for ask in questions:
        try:
            ask()
        except OrchestratorError:
            pass  # as the port says
    mouth.payload = DONE
    assert isinstance(driver.dispatch(work("x", seconds=5.0)), Succeeded)


HELLOS = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"type": st.just("hello-ok"), "protocol": st.just(4)},
        optional={
            "auth": VALUES | st.fixed_dictionaries({"scopes": VALUES, "deviceToken": VALUES}),
            "server": VALUES | st.fixed_dictionaries({"bootId": VALUES, "version": VALUES}),
            "features": VALUES | st.fixed_dictionaries({"methods": VALUES}),
            "policy": VALUES | st.fixed_dictionaries({"maxPayload": VALUES}),
            "snapshot": VALUES,
        },
    ),
)


@REAL
@given(hello=HELLOS, scopes=st.booleans())
def test_any_hello_lets_us_in_or_keeps_the_work_unsent(
    odd_peer: Callable[..., OddPeer], drive: Drive, hello: Any, scopes: bool
) -> None:
    if scopes and isinstance(hello, dict):
        hello = hello | {"auth": hello_ok()["auth"]}
    peer = odd_peer(lambda socket, request: answer(socket, request, DONE), hello=hello)
    driver = drive(peer.address)
    driver.at(replace(driver.endpoint, id=str(peer.address.url)))
    found = driver.dispatch(work("x", seconds=0.5))
    if isinstance(found, Failed):
        assert found.error.code is not ErrorCode.INTERNAL
    else:
        assert isinstance(found, Succeeded | Unsent)
    driver.gateway.close()


@FAST
@given(data=st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_parsing_never_raises(data: bytes) -> None:
    parse(data)


@FAST
@given(payload=st.dictionaries(KEYS, VALUES, max_size=6), ok=st.booleans(), status=WORDS)
def test_every_final_frame_has_an_outcome(payload: dict[str, Any], ok: bool, status: str) -> None:
    frame = json.dumps(
        {"type": "res", "id": "1", "ok": ok, "error": payload} | {"payload": payload | {"status": status}}
    )
    response = parse(frame.encode())
    assert isinstance(response, Response)
    found = outcome("echo", response)
    assert isinstance(found, Succeeded | Failed)
    if not ok or status != "ok":
        assert isinstance(found, Failed)


@FAST
@given(events=st.lists(EVENTS, max_size=20))
def test_a_stream_takes_anything(events: list[dict[str, Any]]) -> None:
    heard = Heard()
    stream = Stream(heard.pieces.append)
    for event in events:
        stream.take(event)
    counts = [piece.tokens for piece in heard.pieces if piece.tokens is not None]
    assert counts == sorted(counts)


@FAST
@given(text=st.text(alphabet='{}[]"`:, \n1ajson', max_size=60))
def test_an_object_is_found_or_not_but_nothing_breaks(text: str) -> None:
    found = json_object(text)
    assert found is None or isinstance(found, dict)


def test_deep_and_long_nonsense_is_no_object() -> None:
    assert json_object("{" * 200_000) is None
    assert json_object('{"a":' * 200_000) is None
    assert json_object("```" * 100_000) is None
    assert parse(b"[" * 1_000_000) is None
