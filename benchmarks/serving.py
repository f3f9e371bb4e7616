"""The API as it is shipped, as a child process."""

import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

from orchestrator.supervisor import commands


@contextmanager
def api(environ: Mapping[str, str], clients: int) -> Iterator[tuple[int, int]]:
    """The API under gunicorn, for so many streams; the ids of its process (which leads a group) and its port."""
    more = {"ORCHESTRATOR_SSE_MAX": str(clients), "ORCHESTRATOR_LOG_LEVEL": "info"}  # it says its port
    with subprocess.Popen(
        commands.api(bind="127.0.0.1:0"),
        env=commands.environment({**os.environ, **environ}, **more),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            port = _port(child)
            drain = Thread(target=lambda: [None for _ in child.stderr or ()], daemon=True)
            drain.start()
            yield child.pid, port
            child.terminate()
            drain.join()
        finally:
            child.terminate()


def get(port: int, path: str) -> bytes:
    """What the API answers, without a key."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        found: bytes = answer.read()
    return found


def _port(child: "subprocess.Popen[str]") -> int:
    assert child.stderr is not None
    last = ""
    for line in child.stderr:
        found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line)
        if found is not None:
            return int(found[1])
        last = line
    raise SystemExit(f"the API did not start: {last}")
