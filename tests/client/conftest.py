"""The real API behind a real HTTP server whose next answers a test can spoil, and a client of it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from api.app import create_app
from models.database import Database
from orchestrator.client import Client
from orchestrator.services import keys, sweeps
from orchestrator.settings import Settings
from tests.support import engine as engines
from tests.support.engine import Engine
from tests.support.proxy import Proxy
from tests.support.soundness import assert_sound

TRIAGE = {
    "name": "triage",
    "inputs": {
        "type": "object",
        "properties": {"amount": {"type": "integer"}},
        "required": ["amount"],
        "additionalProperties": False,
    },
    "outputs": {"doubled": "{{first.doubled}}"},
    "nodes": [
        {"id": "first", "type": "transform", "expression": '{"doubled": amount * 2}'},
        {"id": "second", "type": "transform", "expression": '{"again": doubled * 2}'},
    ],
    "edges": ["first >> second"],
}
FAILING = {"name": "failing", "nodes": [{"id": "only", "type": "transform", "expression": "$error('no')"}]}
PLAIN = (503, [("Content-Type", "text/html")], b"<h1>away</h1>")  # as a proxy before the API says it


@dataclass(slots=True, kw_only=True)
class Request:
    """What came in."""

    method: str
    path: str
    idempotency_key: str | None
    last_event_id: str | None


@dataclass(slots=True)
class Faults:
    """The API, whose next answers go wrong: an answer instead of its own, or "lost": done, and not answered."""

    app: Flask
    cut: Callable[[], object] = lambda: None
    plan: list[Any] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.seen.append(
            Request(
                method=environ["REQUEST_METHOD"],
                path=environ["PATH_INFO"],
                idempotency_key=environ.get("HTTP_IDEMPOTENCY_KEY"),
                last_event_id=environ.get("HTTP_LAST_EVENT_ID"),
            )
        )
        fault = self.plan.pop(0) if self.plan else None
        if fault is None:
            return self.app(environ, start_response)
        if fault == "lost":
            b"".join(self.app(environ, lambda *_: lambda _data: None))
            self.cut()
            raise ConnectionResetError
        status, headers, body = fault
        start_response(f"{status} Spoilt", [*headers, ("Content-Length", str(len(body)))])
        return [body]


@dataclass(slots=True, kw_only=True)
class Served:
    """`url` leads through a proxy that can be cut; `work` is set while steps are carried."""

    faults: Faults
    engine: Engine
    proxy: Proxy
    key: str
    work: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.faults.seen]

    def client(self, key: str | None = None, **options: Any) -> Client:
        return Client(self.url, api_key=key or self.key, **options)

    def leave(self) -> None:
        """Nobody listens any more."""
        self.proxy.refuse()
        self.proxy.cut()


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # streams in chunks, connections kept

    def log(self, *_: Any) -> None:
        pass


class _OldHandler(_Handler):
    protocol_version = "HTTP/1.0"  # streams end with their connection


Serve = Callable[..., Served]


@pytest.fixture
def serve(database: Database, tmp_path: Path) -> Iterator[Serve]:
    """`serve(**settings) -> Served`: the API with these settings; `old`: by HTTP/1.0. Every run is checked."""
    ends: list[Callable[[], None]] = []

    def start(*, old: bool = False, **settings: Any) -> Served:
        made = replace(Settings(data_dir=tmp_path / "data", secret_key="a secret of tests alone"), **settings)
        engine = engines.make(database, settings=made)
        faults = Faults(create_app(engine.deps, send=engine.send, broker_answers=lambda: True))
        handler = _OldHandler if old else _Handler
        server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=handler)
        work = threading.Event()
        work.set()
        over = threading.Event()
        threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}),
            threading.Thread(target=_carry, args=(engine, work, over)),
        ]
        for thread in threads:
            thread.start()
        proxy = Proxy("127.0.0.1", server.server_port)
        faults.cut = proxy.cut
        ends.append(lambda: _end(server, proxy, over, threads, engine))
        key = keys.bootstrap(engine.deps)
        return Served(faults=faults, engine=engine, proxy=proxy, key=key, work=work)

    yield start
    for end in ends:
        end()


def _carry(engine: Engine, work: threading.Event, over: threading.Event) -> None:
    while not over.wait(0.01):
        if work.is_set():
            engine.drain()
            for timer in [timer for timer in engine.timers if timer.seconds == 0]:
                engine.timers.remove(timer)
                engine.send(sweeps.wake(engine.deps, timer))


def _end(
    server: BaseWSGIServer,
    proxy: Proxy,
    over: threading.Event,
    threads: list[threading.Thread],
    engine: Engine,
) -> None:
    over.set()
    proxy.close()
    server.shutdown()
    for thread in threads:
        thread.join()
    server.server_close()
    assert_sound(engine.deps)


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """A client as an admin, with the workflows `triage` and `failing`."""
    with served.client() as made:
        made.workflows.create(TRIAGE)
        made.workflows.create(FAILING)
        served.faults.seen.clear()
        yield made
