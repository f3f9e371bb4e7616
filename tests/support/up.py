"""A whole stack under `orchestrator up`, as an operator has it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from orchestrator.settings import PREFIX

ROOT = Path(__file__).parents[2]
CHILDREN = {"api", "beat", "valkey", "worker-1", "worker-2"}


class Up:
    """One supervisor without a gateway, its data directory and what it printed."""

    def __init__(self, data_dir: Path, *options: str, **settings: str) -> None:
        self.data_dir = data_dir
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.errors = data_dir.with_suffix(".err")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self.environ = plain | settings
        self.process = self._start("up", "--port", "0", "--no-gateway", "--data-dir", str(data_dir), *options)

    def _start(self, *args: str) -> "subprocess.Popen[str]":
        with self.errors.open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "orchestrator.cli", *args],
                env=self.environ,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def ready(self) -> str:
        """The API's address, once everything answers."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("READY http://127.0.0.1:"), line + self.errors.read_text()
        self.environ |= {"ORCHESTRATOR_URL": line.split()[1], "ORCHESTRATOR_DATA_DIR": str(self.data_dir)}
        return line.split()[1]

    def command(self, *args: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-m", "orchestrator.cli", *args]
        return subprocess.run(argv, env=self.environ, cwd=ROOT, capture_output=True, text=True)

    def pids(self) -> dict[str, int]:
        """The children that there are; one whose file goes between the listing and the look is not there."""
        found: dict[str, int] = {}
        for file in (self.data_dir / "run").glob("*.pid"):
            with suppress(FileNotFoundError):
                found[file.stem] = int(file.read_text())
        return found

    def family(self) -> list[int]:
        """Every process that carries this data directory in its environment."""
        mark = f"ORCHESTRATOR_DATA_DIR={self.data_dir}\0"
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in environ_of(pid)]

    def end(self) -> None:
        for pid in [self.process.pid, *self.family()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # gone already
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def environ_of(pid: int) -> str:
    """A process's environment, NUL after each variable; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""
