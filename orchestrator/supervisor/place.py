"""Where a stack keeps its lock, pid files and logs: all within its data directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.errors import ConflictError

KEPT_LOGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The layout of a data directory. `data_dir` is absolute."""

    data_dir: Path

    @property
    def admin_key(self) -> Path:
        return self.data_dir / "admin.key"

    @property
    def gateway(self) -> Path:
        """Written by the local gateway once it listens."""
        return self.data_dir / "gateway.json"

    @property
    def pid_files(self) -> list[Path]:
        return sorted((self.data_dir / "run").glob("*.pid"))

    def pid_file(self, name: str) -> Path:
        return self.data_dir / "run" / f"{name}.pid"

    def log_file(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    def prepare(self) -> None:
        """Make the directories, closed to others: they hold keys."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in ("run", "logs", "valkey"):
            (self.data_dir / part).mkdir(exist_ok=True, mode=0o700)

    def rotate(self, name: str) -> None:
        """Start an empty log; the last ones stay as `<name>.log.1` and up."""
        log = self.log_file(name)
        for number in range(KEPT_LOGS - 1, 0, -1):
            older = log.with_suffix(f".log.{number}")
            if older.exists():
                older.replace(log.with_suffix(f".log.{number + 1}"))
        if log.exists():
            log.replace(log.with_suffix(".log.1"))

    def write_pid(self, name: str, pid: int) -> None:
        """Write whole or not at all: others read the file at any moment."""
        part = self.pid_file(name).with_suffix(".part")
        part.write_text(f"{pid}\n")
        part.replace(self.pid_file(name))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the data directory alone. Raises ConflictError when another supervisor has it.

        The kernel drops the lock with its process, so that a crash leaves none behind.
        """
        descriptor = os.open(self.data_dir / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
                raise ConflictError(
                    f"{self.data_dir} belongs to an `orchestrator up` that runs (pid {holder}); "
                    "stop that one, or give this one another --data-dir"
                ) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)
