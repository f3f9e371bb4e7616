"""The project's real programs as child processes: workers, and whatever else a test starts."""

import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from orchestrator.settings import PREFIX, Settings
from tests.support.polling import poll

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "tests" / "plugin"


class Program:
    """A child process, its output in a file, in a process group of its own."""

    def __init__(
        self,
        arguments: list[str],
        environ: dict[str, str],
        log: Path,
        cwd: Path = ROOT,
        executable: str = sys.executable,
    ) -> None:
        self.log_path = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [executable, *arguments],
                cwd=cwd,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        """All it has printed so far."""
        return self.log_path.read_text(errors="replace")

    def wait_until(self, text: str, limit: float = 60.0) -> None:
        """Wait until it has printed `text`; fails with its output when it ends before."""

        def printed() -> bool:
            found = text in self.log()
            assert found or self._process.poll() is None, (
                f"ended with {self._process.returncode}:\n{self.log()}"
            )
            return found

        poll(printed, limit, f"{text!r} from process {self.pid}")

    def ended(self) -> int | None:
        """Its exit code, below 0 for a signal; None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent process alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the parent process alone, as the operating system does it when memory is short."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, limit: float = 30.0) -> int:
        """SIGTERM, then the exit code; kills it after `limit`."""
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.end()
            raise

    def end(self) -> None:
        """Leave nothing of it behind: SIGKILL to the whole group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # gone with its children
        self._process.wait()


def environ(settings: Settings) -> dict[str, str]:
    """The environment that makes a process load just these settings."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    plain = Settings()
    for field in fields(Settings):
        value = getattr(settings, field.name)
        if value != getattr(plain, field.name):
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            found[PREFIX + field.name.upper()] = text
    return found | {"PYTHONPATH": f"{ROOT}{os.pathsep}{PLUGIN}", "PYTHONUNBUFFERED": "1"}
