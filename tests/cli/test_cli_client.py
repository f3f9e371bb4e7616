"""The client against a real HTTP server: problems as exceptions, pages, streams that are cut."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from orchestrator.cli.client import ApiError, Client, UnreachableError, connect
from orchestrator.settings import Settings

TYPES = {
    "plain": ["run.started", "run.failed"],
    "reopened": ["run.started", "run.failed", "run.reopened", "run.completed"],
    "cut": ["run.started", "step.started", "step.completed", "run.completed"],
}


class Api(BaseHTTPRequestHandler):
    """A little server with the API's manners."""

    seen: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, dict(self.headers)))
        if self.path.endswith("/stream"):
            self._stream(self.path.split("/")[3], int(self.headers.get("Last-Event-ID", 0)))
        elif self.path == "/api/runs?limit=200":
            self._answer(200, {"items": [{"id": n} for n in range(200)], "next_cursor": "c"})
        elif self.path.startswith("/api/runs?limit="):
            self._answer(200, {"items": [{"id": 200}], "next_cursor": None})
        elif self.path == "/api/broken":
            self._answer(503, {"detail": "the database does not answer"})
        elif self.path == "/api/text":
            self._answer(200, "graph TD", "text/plain")
        else:
            problem = {"pointer": "/nodes/0", "line": 3, "code": "MISSING_FIELD", "message": "give it"}
            self._answer(422, {"detail": "1 problem", "code": "INVALID", "errors": [problem]})

    def _answer(self, status: int, body: object, media: str = "application/json") -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, run: str, after: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        at_once = 2 if run == "cut" else 4
        for seq, type_ in list(enumerate(TYPES[run], 1))[after : after + at_once]:
            event = json.dumps({"seq": seq, "type": type_})
            self.wfile.write(f"id: {seq}\nevent: {type_}\ndata: {event}\n\n".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def client() -> Iterator[Client]:
    Api.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made = Client(f"http://127.0.0.1:{server.server_port}/", "secret")
        yield made
        made.close()
        server.shutdown()
        thread.join()


def test_a_problem_document_is_an_exception_with_all_its_problems(client: Client) -> None:
    with pytest.raises(ApiError, match="1 problem") as caught:
        client.get("/api/anything")
    assert (caught.value.status, caught.value.code) == (422, "INVALID")
    (problem,) = caught.value.problems
    assert (problem.pointer, problem.line, problem.code) == ("/nodes/0", 3, "MISSING_FIELD")


def test_the_key_goes_along(client: Client) -> None:
    assert client.get("/api/text") == "graph TD"
    assert Api.seen[0][1]["Authorization"] == "Bearer secret"


def test_a_server_that_is_not_able_says_why(client: Client) -> None:
    with pytest.raises(UnreachableError, match="the database does not answer"):
        client.get("/api/broken")


def test_no_server_names_the_address_and_the_remedy() -> None:
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:9 does not answer.*orchestrator up"):
        Client("http://127.0.0.1:9", None).get("/api/runs")


def test_pages_follow_the_cursor_up_to_the_limit(client: Client) -> None:
    assert [item["id"] for item in client.pages("/api/runs", 10_000)] == list(range(201))
    assert len(list(client.pages("/api/runs", 200))) == 200


@pytest.mark.parametrize("run", TYPES)
def test_a_stream_ends_with_the_run_wherever_it_is_cut(client: Client, run: str) -> None:
    assert [event["type"] for event in client.events(run)] == TYPES[run]
    last_ids = [headers.get("Last-Event-ID") for _, headers in Api.seen]
    assert last_ids == ([None, "2"] if run == "cut" else [None])


def test_the_key_is_that_of_the_data_directory_unless_one_is_set(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("from-file\n")
    assert connect(Settings(data_dir=tmp_path)).key == "from-file"
    assert connect(Settings(data_dir=tmp_path, api_key="given")).key == "given"
    assert connect(Settings(data_dir=tmp_path / "none")).key is None
