"""A RabbitMQ node of a test's own, for tests that kill it."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.missing import missing
from tests.support.polling import poll

# Debian's program on the PATH changes to a user of its own; this one does not.
_PROGRAMS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
_SECONDS = 60.0


class RabbitServer:
    """One node that keeps its queues over `kill` and `start`."""

    def __init__(self, directory: Path) -> None:
        program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
        if program is None:
            missing("RabbitMQ", "install rabbitmq-server", needed_in_ci=False)
        self._program = program
        self._directory = directory
        self.port, self._distribution = _free_port(), _free_port()
        self.start()

    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it where it was; returns when it answers."""
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program], env=self._environ(), stdout=log, stderr=log, start_new_session=True
            )
        poll(self._answers, _SECONDS, "an answer from RabbitMQ")

    def stop(self) -> None:
        """Have it end; `start` brings it back. A quorum queue that is younger than some seconds would not live through
        a kill: its leader is not found again.
        """
        pid = int((self._directory / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        self._process.wait(_SECONDS)

    def kill(self) -> None:
        """End it at once, with all that it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _environ(self) -> dict[str, str]:
        own = {
            "NODENAME": f"orchestrator{self.port}@localhost",
            "NODE_IP_ADDRESS": "127.0.0.1",
            "NODE_PORT": str(self.port),
            "DIST_PORT": str(self._distribution),
            "MNESIA_BASE": str(self._directory / "data"),
            "LOG_BASE": str(self._directory / "log"),
            "ENABLED_PLUGINS_FILE": str(self._directory / "plugins"),
            "CONFIG_FILE": str(self._directory / "none"),
            "PID_FILE": str(self._directory / "pid"),
        }
        named = {f"RABBITMQ_{name}": value for name, value in own.items()}
        return {**os.environ, **named, "HOME": str(self._directory)}

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._directory / "server.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
