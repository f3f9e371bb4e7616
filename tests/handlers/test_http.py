"""The http node against a real server."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from models.errors import ErrorCode
from orchestrator.core.outcome import Cancelled, Failed, Outcome, Succeeded
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.handlers.http import HttpHandler
from orchestrator.ports import Parts, StepContext
from orchestrator.settings import Settings
from tests.support.contexts import context
from tests.support.nowhere import Nowhere


class Service(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked: /status/<n>, /as?type=…, /slow, /big; anything else echoes."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, Any]]
    go_on: threading.Event

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append({"method": self.command, "path": self.path, "headers": headers, "body": body})
        status, kind, content = 200, "application/json", json.dumps({"path": self.path}).encode()
        if self.path.startswith("/status/"):
            status = int(self.path.removeprefix("/status/").partition("?")[0])
        elif self.path == "/text":
            kind, content = "text/plain; charset=latin-1", "né".encode("latin-1")
        elif self.path == "/lies":
            content = b"{not json"
        elif self.path == "/problem":
            kind, content = "application/problem+json", b'{"title": "no"}'
        elif self.path == "/big":
            content = b'"' + b"x" * 70_000 + b'"'
        elif self.path == "/slow":
            self.go_on.wait(10)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("X-Seen", "yes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):  # the caller may have gone
                self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Running:
    """The service and its address."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.go_on = threading.Event()
        handler = type("OwnService", (Service,), {"asked": self.asked, "go_on": self.go_on})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[Running]:
    running = Running()
    yield running
    running.close()


def make(*allow: str) -> HttpHandler:
    return HttpHandler(Parts(settings=Settings(), agents=Nowhere(), outbound=GuardedOutbound(allow)))


def step(*, seconds: float = 5.0, **fields: Any) -> StepContext:
    return context(fields, type="http", deadline=time.monotonic() + seconds)


def output(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Succeeded), outcome
    found = outcome.output
    assert isinstance(found, dict)
    return found


def failure(outcome: Outcome) -> tuple[ErrorCode, bool]:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.code, outcome.error.transient


def test_the_answer_is_status_headers_and_parsed_body(service: Running) -> None:
    found = output(make("127.0.0.1").execute(step(url=service.url + "/a")))
    assert found["status"] == 200
    assert found["headers"]["x-seen"] == "yes"
    assert found["body"] == {"path": "/a"}


@pytest.mark.parametrize(
    ("path", "body"), [("/text", "né"), ("/lies", "{not json"), ("/problem", {"title": "no"})]
)
def test_a_body_is_parsed_when_it_is_json(service: Running, path: str, body: Any) -> None:
    assert output(make("127.0.0.1").execute(step(url=service.url + path)))["body"] == body


def test_json_query_and_headers_are_sent(service: Running) -> None:
    fields = {
        "method": "POST",
        "url": service.url + "/x?a=1#frag",
        "query": {"b": "ü&", "n": 2, "many": ["p", True]},
        "headers": {"X-Own": "v", "X-Number": 5},
        "json": {"k": [1, "ü"]},
    }
    output(make("127.0.0.1").execute(step(**fields)))
    asked = service.asked[0]
    assert asked["method"] == "POST"
    assert asked["path"] == "/x?a=1&b=%C3%BC%26&n=2&many=p&many=true"
    assert json.loads(asked["body"]) == {"k": [1, "ü"]}
    assert asked["headers"]["content-type"] == "application/json"
    assert (asked["headers"]["x-own"], asked["headers"]["x-number"]) == ("v", "5")


def test_a_body_is_text_and_null_is_json(service: Running) -> None:
    handler = make("127.0.0.1")
    output(handler.execute(step(method="PUT", url=service.url, body="plain")))
    output(handler.execute(step(method="PUT", url=service.url, json=None)))
    assert [asked["body"] for asked in service.asked] == [b"plain", b"null"]
    assert service.asked[0]["headers"]["content-type"] == "text/plain; charset=utf-8"


def test_the_idempotency_key_goes_with_every_call(service: Running) -> None:
    handler = make("127.0.0.1")
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        output(handler.execute(step(method=method, url=service.url)))
    own = step(method="POST", url=service.url, headers={"Idempotency-Key": "mine"})
    output(handler.execute(own))
    keys = [asked["headers"].get("idempotency-key") for asked in service.asked]
    assert keys == [*[own.idempotency_key] * 6, "mine"]


@pytest.mark.parametrize(
    ("status", "transient"),
    [(500, True), (503, True), (429, True), (400, False), (404, False), (409, False), (302, False)],
)
def test_other_statuses_fail_the_tool(service: Running, status: int, transient: bool) -> None:
    outcome = make("127.0.0.1").execute(step(url=f"{service.url}/status/{status}?key=secret"))
    assert failure(outcome) == (ErrorCode.TOOL_FAILED, transient)
    assert isinstance(outcome, Failed)
    assert outcome.error.details["status"] == status
    assert "secret" not in outcome.error.message


def test_statuses_can_be_expected(service: Running) -> None:
    handler = make("127.0.0.1")
    url = service.url + "/status/404"
    assert output(handler.execute(step(url=url, expect={"status": 404})))["status"] == 404
    assert output(handler.execute(step(url=url, expect={"status": [200, 404]})))["status"] == 404
    refused = handler.execute(step(url=service.url, expect={"status": 201}))
    assert failure(refused) == (ErrorCode.TOOL_FAILED, False)


def test_a_long_answer_is_too_large(service: Running) -> None:
    assert failure(make("127.0.0.1").execute(step(url=service.url + "/big"))) == (
        ErrorCode.OUTPUT_TOO_LARGE,
        False,
    )


def test_a_slow_answer_is_a_timeout(service: Running) -> None:
    outcome = make("127.0.0.1").execute(step(url=service.url + "/slow", seconds=0.3))
    assert failure(outcome) == (ErrorCode.TIMEOUT, True)


def test_an_attempt_that_is_given_up_ends(service: Running) -> None:
    ctx = step(url=service.url + "/slow", seconds=30)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(make("127.0.0.1").execute, ctx)
        ctx.cancelled.set()
        assert future.result(3) == Cancelled()


def test_a_closed_port_is_network(service: Running) -> None:
    service.close()
    assert failure(make("127.0.0.1").execute(step(url=service.url))) == (ErrorCode.NETWORK, True)


def test_places_that_are_not_public_are_denied(service: Running) -> None:
    assert failure(make().execute(step(url=service.url))) == (ErrorCode.POLICY_DENIED, False)
    assert service.asked == []


@pytest.mark.parametrize(
    "fields",
    [
        {"url": 7},
        {"url": "ftp://example.com/"},
        {"url": "http://example.com/", "headers": {"Host": "other"}},
        {"url": "http://example.com/", "headers": {"Content-Length": "1"}},
        {"url": "http://example.com/", "headers": {"X Y": "1"}},
        {"url": "http://example.com/", "headers": {"X": "a\r\nHost: other"}},
        {"url": "http://example.com/", "headers": {"X": {"a": 1}}},
        {"url": "http://example.com/", "headers": {"X": "é\u20ac"}},
        {"url": "http://example.com/", "query": {"a": None}},
        {"url": "http://example.com/", "json": 1, "body": "x"},
        {"url": "http://example.com/", "expect": {"code": 1}},
        {"url": "http://example.com/", "expect": {"status": "200"}},
        {"url": "http://example.com/", "expect": {"status": True}},
    ],
)
def test_what_cannot_be_sent_is_a_validation_failure(fields: dict[str, Any]) -> None:
    assert failure(make("127.0.0.1").execute(step(**fields))) == (ErrorCode.VALIDATION, False)
