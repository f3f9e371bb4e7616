"""A model provider of OpenAI's chat completions on loopback, scripted by what the prompt says.

A line `@model {…}` in a user's message says how a call goes; the last message that has one counts:
pieces: text as it is streamed (default: one piece, "done"). hold: wait before the last piece for `release()`, or
for the caller to hang up. status: answer with that HTTP error instead. usage: {"prompt_tokens", …}; null: none is told.
times: all this for the first so many calls with that same line; later ones answer "done".
"""

import json
import select
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted"
USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 50,
    "total_tokens": 1250,
    "prompt_tokens_details": {"cached_tokens": 200},
}
_MARK = "@model "
_ASIDE = "<<<BEGIN_OPENCLAW"  # what the gateway tells the model beside the user's message


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One request to the model. ended: "whole" or "cut", once it is over."""

    request: Mapping[str, Any]
    message: str
    ended: str | None = None
    released: threading.Event = field(default_factory=threading.Event)


class ModelServer:
    """Serves `url` from its start to `close`."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.model = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def calls(self, text: str = "") -> list[Call]:
        """The calls so far whose scripted message holds a text, in their order."""
        with self._lock:
            return [call for call in self._calls if text in call.message]

    def release(self) -> None:
        """Let every call that is held come to its end."""
        for call in self.calls():
            call.released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def begin(self, request: Mapping[str, Any]) -> tuple[Call, Mapping[str, Any]]:
        """Note a call; what it is to do."""
        message, line = _script(request)
        script = json.loads(line)
        call = Call(request=request, message=message)
        with self._lock:
            before = sum(line in other.message for other in self._calls)
            self._calls.append(call)
        return call, script if before < script.get("times", before + 1) else {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    model: ModelServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call, script = self.server.model.begin(request)
        self.close_connection = True
        try:
            self._answer(call, script)
            call.ended = call.ended or "whole"
        except OSError:
            call.ended = "cut"

    def _answer(self, call: Call, script: Mapping[str, Any]) -> None:
        if "status" in script:
            self._fail(script["status"])
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        *first, last = script.get("pieces") or [""] if "pieces" in script else ["done"]
        for piece in first:
            self._say(_delta(piece))
        if script.get("hold") and not self._held(call):
            call.ended = "cut"
            return
        for chunk in _rest(last, script.get("usage", USAGE)):
            self._say(chunk)
        self.wfile.write(b"data: [DONE]\n\n")

    def _held(self, call: Call) -> bool:
        """True once released, False when the caller hung up before."""
        while not call.released.wait(0.02):
            if select.select([self.connection], [], [], 0)[0]:
                return False
        return True

    def _say(self, chunk: Mapping[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def _fail(self, status: int) -> None:
        body = json.dumps({"error": {"message": f"scripted {status}", "type": "scripted"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _script(request: Mapping[str, Any]) -> tuple[str, str]:
    """The message that counts, and what its line says."""
    texts = [_text(message) for message in request["messages"] if message["role"] == "user"]
    for text in reversed(texts):
        for line in text.splitlines():
            if line.startswith(_MARK):
                return text, line.removeprefix(_MARK)
    return next((text for text in reversed(texts) if not text.startswith(_ASIDE)), ""), "{}"


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content)


def _rest(last: str, usage: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    yield _delta(last)
    yield _chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    if usage is not None:
        yield _chunk([]) | {"usage": usage}


def _delta(piece: str) -> dict[str, Any]:
    return _chunk([{"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}])


def _chunk(choices: list[Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": MODEL,
        "choices": choices,
    }
