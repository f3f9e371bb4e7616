"""A real HTTP server that takes webhooks: it keeps what came, checks it by the library, and answers as it is told."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.support.polling import poll


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One POST. `headers` in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The JSON of its body, when the library takes its signature."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass(slots=True)
class Receiver:
    """`answers`: status, headers and body for each request in turn, the last one for all that follow."""

    port: int = 0
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"thanks")])
    received: list[Received] = field(default_factory=list)
    held: threading.Event | None = None
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, *statuses: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """These statuses in turn, the last one from then on."""
        self.answers = [(status, headers or {}, body) for status in statuses]

    def came(self, number: int, limit: float = 60.0) -> list[Received]:
        """The first requests, once there are so many."""
        poll(lambda: len(self.received) >= number, limit, f"{number} webhooks, of which {len(self.received)} came")
        return list(self.received)

    def take(self, received: Received) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self.received.append(received)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.held is not None:
            self.held.wait(30)
        with self._lock:
            self._at_once -= 1
        return answer


def serve(receiver: Receiver) -> http.server.ThreadingHTTPServer:
    """Let a receiver listen."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found = Received(path=self.path, headers=headers, body=body, at=time.time())
            status, extra, content = receiver.take(found)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.fixture
def receivers() -> Iterator[Callable[[], Receiver]]:
    """`receivers()`: one more that listens."""
    servers = []
    made = []

    def new() -> Receiver:
        made.append(Receiver())
        servers.append(serve(made[-1]))
        return made[-1]

    yield new
    for receiver in made:
        if receiver.held is not None:
            receiver.held.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def receiver(receivers: Callable[[], Receiver]) -> Receiver:
    return receivers()
