"""Whatever a gateway sends, the driver answers with an outcome and goes on."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.server import ServerConnection

from models.errors import ErrorCode
from orchestrator.core.outcome import Failed, Succeeded
from orchestrator.drivers.openclaw import OpenClawGateway
from orchestrator.drivers.openclaw_frames import Response, parse
from orchestrator.drivers.openclaw_outcome import outcome
from orchestrator.drivers.openclaw_prompt import json_object
from orchestrator.ports import Dispatch
from tests.support.gateways import OddPeer, answer

WANTED = (
    "type id ok payload error code message details retryable retryAfterMs status result payloads meta agentMeta "
    "usage cost total text isError stopReason endedAt tasks messages runId input output model costUsd role "
    "__openclaw content createdAt"
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
    """A peer whose every answer is what the current example says."""

    def __init__(self) -> None:
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
def driver(mouth: Mouth, odd_peer: Callable[..., OddPeer]) -> Iterator[OpenClawGateway]:
    address = odd_peer(mouth.talk).address
    gateway = OpenClawGateway(lambda: address, patience=0.2)
    yield gateway
    gateway.close()


def dispatch(driver: OpenClawGateway, seconds: float) -> Any:
    return driver.dispatch(
        Dispatch(
            agent="echo",
            session_key="agent:echo:x",
            idempotency_key="run:x:1",
            title="x",
            description="",
            input={},
            priority=None,
            tags=(),
            deadline=time.monotonic() + seconds,
            cancelled=threading.Event(),
        )
    )


@REAL
@given(noise=st.lists(st.text(max_size=40) | st.binary(max_size=40) | VALUES.map(json.dumps), max_size=6))
def test_noise_before_the_answer_changes_nothing(
    driver: OpenClawGateway, mouth: Mouth, noise: list[str | bytes]
) -> None:
    mouth.noise = noise
    mouth.payload = {"status": "ok", "result": {"payloads": [{"text": "done"}]}}
    found = dispatch(driver, 5.0)
    assert isinstance(found, Succeeded)
    assert found.output["text"] == "done"


@REAL
@given(payload=VALUES)
def test_any_answer_gives_an_outcome_and_the_next_run_is_fine(
    driver: OpenClawGateway, mouth: Mouth, payload: Any
) -> None:
    mouth.noise, mouth.payload = [], payload
    found = dispatch(driver, 0.15)
    assert isinstance(found, Succeeded) or found.error.code is not ErrorCode.INTERNAL
    mouth.payload = {"status": "ok", "result": {"payloads": [{"text": "done"}]}}
    assert isinstance(dispatch(driver, 5.0), Succeeded)


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
    odd_peer: Callable[..., OddPeer], data: bytes
) -> None:
    def talk(socket: ServerConnection, request: dict[str, Any]) -> None:
        if peer.connections == 1:
            socket.socket.sendall(data)
            socket.socket.shutdown(2)
        else:
            answer(socket, request, {"status": "ok", "result": {"payloads": [{"text": "done"}]}})

    peer = odd_peer(talk)
    gateway = OpenClawGateway(lambda: peer.address)
    assert isinstance(dispatch(gateway, 5.0), Succeeded)
    assert peer.connections == 2
    gateway.close()


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
@given(text=st.text(alphabet='{}[]"`:, \n1ajson', max_size=60))
def test_an_object_is_found_or_not_but_nothing_breaks(text: str) -> None:
    found = json_object(text)
    assert found is None or isinstance(found, dict)


def test_deep_and_long_nonsense_is_no_object() -> None:
    assert json_object("{" * 200_000) is None
    assert json_object('{"a":' * 200_000) is None
    assert json_object("```" * 100_000) is None
    assert parse(b"[" * 1_000_000) is None
