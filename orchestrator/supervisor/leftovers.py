"""What a supervisor that was killed may have left: ended before the next one starts."""

import os
import signal
import time
from pathlib import Path

from orchestrator.supervisor.place import Place

_LIMIT = 5.0


def end(place: Place) -> list[str]:
    """End the processes of the pid files that are still ours; returns their names.

    A pid alone proves nothing, it may have been given to another program since: the process must carry
    this data directory in its environment (Linux; elsewhere only the pid files are removed).
    """
    ended = []
    for file in place.pid_files:
        pid = int(file.read_text() or 0)
        if pid and _is_ours(pid, place.data_dir):
            _kill_group(pid)
            ended.append(file.stem)
        file.unlink(missing_ok=True)
    place.gateway.unlink(missing_ok=True)
    return ended


def _is_ours(pid: int, data_dir: Path) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # gone, another user's, or a system without /proc
    return f"ORCHESTRATOR_DATA_DIR={data_dir}".encode() in variables


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _LIMIT
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """False once its files and sockets are closed, though nobody may have asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False
