"""Stands in for all that the durable examples talk to: CRM, e-mail, e-sign, regulators …, and the agents.

    ORCHESTRATOR_HTTP_ALLOW=127.0.0.1 make up      # in one terminal
    .venv/bin/python examples/outside.py           # in another

It prints every call with its idempotency key; a repeat under a key gets the first answer again, and does nothing.
"""

import json
import os
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from orchestrator.client import Client
from orchestrator.client.errors import NotFound

ROLES = ("analyst", "writer")
# What agents answer, by the first tag of their task.
SAYS: dict[str, dict[str, Any]] = {
    "fit": {"score": 82, "reason": "sells to the same customers"},
    "term-sheet": {"revenue_share": 20, "months": 24, "text": "20 % for 24 months"},
    "dd-plan": {"questions": ["Who owns the code?", "What do the largest customers pay?"]},
    "dd-findings": {
        "findings": [
            {"title": "a key person may leave", "severity": "high"},
            {"title": "old laptops", "severity": "low"},
        ]
    },
    "valuation": {"low": 40, "fair": 50, "high": 65, "impact_percent": -8, "reason": "solid, with one large customer"},
    "market": {"risk": "medium", "summary": "a licence and a local partner"},
    "canary": {"verdict": "go", "reason": "errors at 0.2 %, as at home"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that something was done for, but for reads and agents."""

    method: str
    path: str
    key: str
    body: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Outside:
    """Everything outside, on one port. says: answers of agents; shows: what a GET answers, by path; away: status of
    every answer under a path.
    """

    port: int = 0
    show: bool = False
    calls: list[Call] = field(default_factory=list)
    repeats: list[Call] = field(default_factory=list)
    says: dict[str, dict[str, Any]] = field(default_factory=lambda: dict(SAYS))
    shows: dict[str, Any] = field(default_factory=dict)
    away: dict[str, int] = field(default_factory=dict)
    _answers: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address: the input `services` of the examples."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Outside":
        """Serve until `stop`, in threads."""
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                key = self.headers.get("idempotency-key") or ""
                status, said = outside.answer(self.command, self.path, key, json.loads(body) if body else None)
                data = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Calls are shown by their keys."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, method: str, path: str, key: str, body: Any) -> tuple[int, Any]:
        """The status and body of an answer."""
        for under, status in self.away.items():
            if path.startswith(under):
                return status, {"message": "as told"}
        if path.startswith("/agents"):
            return 200, self.say(body["task"]["tags"]) if method == "POST" else {}
        if method == "GET":
            return 200, self.shows.get(path, {"status": "sent", "well": True})
        return 201 if method == "POST" else 200, self._do(Call(method=method, path=path, key=key, body=body))

    def say(self, tags: Any) -> dict[str, Any]:
        """What an agent answers to a task with these tags."""
        said = self.says.get(tags[0] if tags else "", {"text": "done"})
        return {"output": said, "model": "outside", "usage": {"input": 100, "output": 20}}

    def _do(self, call: Call) -> Any:
        """Do it once: the answer is kept under the key."""
        with self._lock:
            again = call.key in self._answers
            (self.repeats if again else self.calls).append(call)
            if not again:
                kind = call.path.rsplit("/", 1)[1]
                number = 1 + sum(str(call) == str(earlier) for earlier in self.calls[:-1])
                self._answers[call.key] = {"id": f"{kind}-{number}"}
            if self.show:
                print(f"{call!s:<60} {'again  ' if again else ''}{call.key}", flush=True)
            return self._answers[call.key]


def hire(client: Client, outside: Outside) -> None:
    """Enrol an agent for each role, reached at a gateway of kind `http`: this program."""
    address = f"{outside.url}/agents"
    try:
        client.gateways.update("outside", {"url": address})
    except NotFound:
        client.gateways.create("outside", address, kind="http")
    for role in ROLES:
        client.agents.register(role, role, gateway="outside")


def main() -> None:
    """Serve on port 8090 for the stack of `make up`, until Ctrl-C."""
    outside = Outside(port=8090, show=True).start()
    key = os.environ.get("ORCHESTRATOR_API_KEY") or Path(".orchestrator/admin.key").read_text()
    client = Client(api_key=key)
    hire(client, outside)
    print(f"services={outside.url}, agents: {', '.join(ROLES)}", flush=True)
    while True:
        time.sleep(30)
        for role in ROLES:
            client.agents.heartbeat(role)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass  # that is how it ends
