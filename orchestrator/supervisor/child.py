"""One child process: a session of its own, dead with its parent, its output in a log file."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.supervisor import fate
from orchestrator.supervisor.place import Place

FIRST_DELAY = 0.1
LAST_DELAY = 30.0
SETTLED_AFTER = 10.0  # a child that lived this long starts its next life without delay
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a child runs. `stage` orders the stop: all of stage 0 end first. `fds` are passed on open."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    fds: tuple[int, ...] = ()
    stage: int = 0


class Child:
    """A program and the process that runs it now. All times are of `clock`, in seconds."""

    def __init__(self, program: Program, place: Place, clock: Callable[[], float] = time.monotonic) -> None:
        self.program = program
        self.deaths = 0  # in a row, without having settled
        self.due_at: float | None = None
        self._place = place
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        place.rotate(program.name)

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start the process and write its pid file. Raises OSError when it cannot be started."""
        with self._place.log_file(self.name).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command lines
                self.program.argv,
                env=dict(self.program.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.program.fds,
                # Not SIGTERM: the broker goes at the same moment, nobody could drain. Leases cover the crash.
                preexec_fn=fate.shared_with(os.getpid(), signal.SIGKILL),
            )
        self._started_at = self._clock()
        self.due_at = None
        self._place.write_pid(self.name, self._process.pid)

    def reap(self) -> str | None:
        """How the process ended, once: None while it runs. What it left of its group is ended too."""
        if self._process is None or self._process.poll() is None:
            return None
        code = self._process.returncode
        self.signal(signal.SIGKILL)
        self._process = None
        self._place.pid_file(self.name).unlink(missing_ok=True)
        self.deaths = 1 if self._clock() - self._started_at >= SETTLED_AFTER else self.deaths + 1
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    def postpone(self) -> float:
        """Set when the next life is due: at once, then with a delay that doubles up to 30 s."""
        delay = min(LAST_DELAY, FIRST_DELAY * 2.0 ** (self.deaths - 1))
        self.due_at = self._clock() + delay
        return delay

    def terminate(self) -> None:
        """Ask the process to drain and end; its own children hear of it from the process."""
        if self._process is not None:
            self._process.terminate()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                pass  # nothing left of the group

    def log_tail(self, lines: int = 12) -> str:
        """The last lines of the child's log."""
        with self._place.log_file(self.name).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
