"""Whether a part of the stack is there again and does its work."""

import http.client
import json
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.faults import processes
from tests.faults.stack import Stack

_SAYS = {"beat": "is starting."}
_WORKER_BEGINS = ".> transport:"
_WORKER_SAYS = " ready."


def returns(stack: Stack, name: str, pid: int) -> Callable[[], bool]:
    """Whether another process than `pid` does the work of a part; made before that one is killed."""
    if name == "api":
        return lambda: stack.pid(name) not in (None, pid) and is_alive(stack)
    if name == "gateway":
        return lambda: stack.pid(name) not in (None, pid) and _listens(stack)
    line = _SAYS.get(name, _WORKER_SAYS)
    before = stack.log(name).count(line)
    return lambda: stack.pid(name) not in (None, pid) and stack.log(name).count(line) > before


def has_children(stack: Stack, name: str, count: int, killed: int) -> bool:
    """Whether a part does its work with as many children again, without the one that was killed."""
    parent, log = stack.pid(name), stack.log(name)
    if parent is None or processes.lives(killed) or log.count(_WORKER_BEGINS) > log.count(_WORKER_SAYS):
        return False
    return len(processes.children(parent)) >= count and (name != "api" or is_alive(stack))


def is_alive(stack: Stack) -> bool:
    return _get(stack, "/healthz").get("status") == "ok"


def is_ready(stack: Stack) -> bool:
    """Whether the API has its database; what else is missing is another fault's matter."""
    return _get(stack, "/readyz").get("status") in ("ready", "degraded")


def _get(stack: Stack, path: str) -> dict[str, object]:
    connection = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=3)
    try:
        connection.request("GET", path)
        found: dict[str, object] = json.loads(connection.getresponse().read())
        return found
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()


def _listens(stack: Stack) -> bool:
    try:
        told = json.loads((stack.settings.data_dir / "gateway.json").read_text())
        place = urlsplit(told["url"])
        socket.create_connection((place.hostname or "", place.port or 0), timeout=1).close()
    except (OSError, ValueError, KeyError):
        return False
    return True
