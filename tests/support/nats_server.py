"""A NATS server with JetStream of a test's own."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.missing import missing
from tests.support.polling import poll


class NatsServer:
    """One server process that keeps its streams over `kill` and `start`."""

    def __init__(self, directory: Path) -> None:
        own = Path(sys.executable).parent / "nats-server"  # the development tools bring one, for Linux on x86-64
        found = str(own) if own.exists() else shutil.which("nats-server")
        if found is None:
            missing("NATS", "put nats-server on the PATH (Debian: apt install nats-server)", needed_in_ci=True)
        self._program = found
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.start()

    def url(self, prefix: str = "") -> str:
        """Its URL; streams and subjects begin with the prefix."""
        return f"nats://127.0.0.1:{self.port}/{prefix}"

    def start(self) -> None:
        """Start it where it was; returns when it answers."""
        arguments = ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._directory)]
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *arguments], stdout=log, stderr=log)
        poll(self._answers, what="an answer from nats-server")

    def kill(self) -> None:
        """End it at once; `start` brings it back."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._directory / "server.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False
