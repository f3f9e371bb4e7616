"""Processes as the system shows them."""

import os
from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that live."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(int(name)) == pid]


def lives(pid: int) -> bool:
    return _state(pid) not in ("", "Z", "X")


def send(pid: int, number: int) -> bool:
    """Send a signal; False where the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _parent(pid: int) -> int | None:
    fields = _fields(pid)
    return int(fields[1]) if fields and fields[0] not in "ZX" else None


def _state(pid: int) -> str:
    fields = _fields(pid)
    return fields[0] if fields else ""


def _fields(pid: int) -> list[str]:
    """What follows the name in `/proc/<pid>/stat`: state, parent, …; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []
