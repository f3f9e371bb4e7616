"""The world outside: counts what is asked of it by Idempotency-Key. A process of its own that nobody kills.

`python -m tests.faults.effects` prints its port. `POST /<run>/<place>` with `{value, fail?, refuse?}` is an effect
at a place, which the caller names without the engine's help; `GET /` tells what was seen.
"""

import json
import random
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOWEST = 1.5  # seconds


class Ledger:
    """Calls by key and place. An effect that was refused as scripted did not take place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._called: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._keys: defaultdict[str, set[str]] = defaultdict(set)
        self._places: defaultdict[str, set[str]] = defaultdict(set)

    def take(self, place: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self._called[key] += 1
            if body.get("refuse"):
                return 422, {"refused": place}
            if self._called[key] <= body.get("fail", 0):
                return 503, {"later": place}
            self._done[key] += 1
            self._keys[place].add(key)
            self._places[key].add(place)
            return 200, {"place": place, "value": body.get("value")}

    def told(self) -> dict[str, Any]:
        """calls, effects: numbers. repeats: calls again under a key whose effect had taken place, by key.

        doubled: places under more than one key; shared: keys of more than one place.
        """
        with self._lock:
            return {
                "calls": sum(self._called.values()),
                "effects": len(self._keys),
                "repeats": {key: count - 1 for key, count in self._done.items() if count > 1},
                "doubled": {place: sorted(keys) for place, keys in self._keys.items() if len(keys) > 1},
                "shared": {key: sorted(places) for key, places in self._places.items() if len(places) > 1},
            }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve() -> None:
    ledger = Ledger()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = ledger.take(self.path[1:], self.headers["idempotency-key"], body)
            time.sleep(random.random() * SLOWEST)  # kills are to hit steps in the middle
            self._answer(status, answer)

        def do_GET(self) -> None:
            self._answer(200, ledger.told())

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, status: int, answer: dict[str, Any]) -> None:
            data = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the caller was killed

    server = _Server(("127.0.0.1", 0), Handler)
    print(f"port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
