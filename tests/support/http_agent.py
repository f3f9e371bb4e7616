"""An agent over HTTP as docs/agents.md has it, on a real server, scripted by the same directives as gateways."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from orchestrator.gateway.script import Script, script_of

ERRORS = {"model": "LLM_DOWN", "credit": "CREDIT_EXHAUSTED", "empty": "TOOL_FAILED"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # 5 would reset what comes at once


class HttpAgent:
    """Answers at once, or takes the work and shows its answer later.

    status: answered to everything, in the place of what follows. asked: (method, path, headers, body) of all
    requests. said: the body of answers, in the place of what the directive says.
    """

    def __init__(self, token: str = "secret") -> None:
        self.token = token
        self.status: int | None = None
        self.said: bytes | None = None
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self._lock = threading.Lock()
        self._ready_at: dict[str, float] = {}
        self._answers: dict[str, dict[str, Any]] = {}
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/agents/echo"

    def start(self) -> None:
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                agent._serve(self)

            def do_GET(self) -> None:
                agent._serve(self)

            def do_DELETE(self) -> None:
                agent._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def sent(self, method: str) -> list[Any]:
        """The bodies of requests."""
        return [body for asked, _, _, body in self.asked if asked == method]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append((handler.command, handler.path, headers, body))
        status, answer = self._answer(handler.command, handler.path, headers, body)
        data = self.said if self.said is not None and status == 200 else json.dumps(answer).encode()
        try:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
        except OSError:
            pass  # it did not wait

    def _answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        if self.status is not None:
            return self.status, {"message": "as scripted"}
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"message": "who are you?"}
        if method == "POST":
            return self._take(body)
        name = unquote(path.rpartition("/")[2])
        if name == "health":
            return 200, {}
        return self._show(name) if method == "GET" else self._cancel(name)

    def _take(self, body: dict[str, Any]) -> tuple[int, Any]:
        key = body["idempotency_key"]
        script = script_of(body["task"]["description"], 1)
        if script.fail == "unknown_agent":
            return 404, {}
        if script.fail == "forbidden":
            return 403, {}
        if script.fail == "draining":
            return 503, {}
        answer = _said(script, body["input"])
        if not script.delay and not script.hang:
            return 200, answer
        with self._lock:
            self._answers.setdefault(key, answer)
            wait = float("inf") if script.hang else script.delay
            self._ready_at.setdefault(key, time.monotonic() + wait)
        return 202, {}

    def _show(self, key: str) -> tuple[int, Any]:
        with self._lock:
            if self._ready_at.get(key, float("inf")) <= time.monotonic():
                return 200, self._answers[key]
        return 404, {}

    def _cancel(self, key: str) -> tuple[int, Any]:
        with self._lock:
            if key not in self._answers:
                return 404, {}
            self._answers[key] = {"error": {"code": "CANCELLED", "message": "stopped"}}
            self._ready_at[key] = 0.0
        return 204, {}


def _said(script: Script, given: Any) -> dict[str, Any]:
    if script.fail is not None:
        return {"error": {"code": ERRORS[script.fail], "message": "as scripted"}}
    usage = {"input": 3, "output": 4}
    if script.reply is None:
        return {"text": json.dumps(given), "usage": usage, "model": "m"}
    return {"output": script.reply, "usage": usage, "model": "m"}
