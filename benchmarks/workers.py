"""The workers of both sides, as child processes, and what they cost."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator.supervisor import commands

_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def ours(
    environ: Mapping[str, str], data_dir: Path, threads: int, *, counted: bool = False
) -> Iterator[list[int]]:
    """Workers and beat as a deployment starts them; the ids of the processes.

    `counted`: what the workers ask of the database and tell the broker is counted, as `steps` and as `control`
    (benchmarks/counted.py).
    """
    carrying: tuple[tuple[str, ...], ...] = (
        commands.worker(
            queues="steps", pool="threads", concurrency=threads, name="bench-steps", log_level="warning"
        ),
        commands.worker(
            queues="control,webhooks,sweeps",
            pool="prefork",
            concurrency=2,
            name="bench-control",
            log_level="warning",
        ),
    )
    if counted:
        names = ("steps", "control")
        carrying = tuple(_counted(line, name) for line, name in zip(carrying, names, strict=True))
    lines = (*carrying, commands.beat(data_dir=data_dir, log_level="warning"))
    with _running(lines, commands.environment(environ), data_dir / "ours.log") as found:
        yield found


def _counted(line: Sequence[str], name: str) -> tuple[str, ...]:
    program = line.index("celery")
    return (*line[:program], "benchmarks.counted", name, *line[program + 1 :])


@contextmanager
def bare(environ: Mapping[str, str], data_dir: Path, threads: int | None = None) -> Iterator[list[int]]:
    """One Celery worker with as many processes as this machine has cores, or with so many threads."""
    pool = ("prefork", str(os.cpu_count() or 2)) if threads is None else ("threads", str(threads))
    worker = ("-A", "benchmarks.bare", "worker", "-l", "WARNING", "-Q", "bench-bare", "-n", "bench-bare@%h")
    line = (
        *(sys.executable, "-m", "celery", *worker),
        *("-P", pool[0], "-c", pool[1], "--without-gossip", "--without-mingle"),
    )
    with _running((line,), commands.environment(environ), data_dir / "bare.log") as found:
        yield found


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Let these workers and their children stand still."""
    for pid in pids:
        os.killpg(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.killpg(pid, signal.SIGCONT)


@contextmanager
def _running(lines: Sequence[Sequence[str]], environ: Mapping[str, str], log: Path) -> Iterator[list[int]]:
    """Children that share a log, whose end is shown when something fails."""
    with log.open("wb") as output:
        children = [
            subprocess.Popen(line, env=dict(environ), stdout=output, stderr=output, start_new_session=True)
            for line in lines
        ]
    try:
        yield [child.pid for child in children]
    except Exception:
        sys.stderr.write(log.read_text(errors="replace")[-4_000:])
        raise
    finally:
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def cpu_of(pids: Sequence[int]) -> float:
    """CPU seconds of these processes, their threads, and their children that live."""
    return sum(_seconds(pid) for pid in with_children(pids))


def with_children(pids: Sequence[int]) -> list[int]:
    """These processes, and their children that live."""
    return sorted({*pids, *(child for pid in pids for child in _children(pid))})


def _children(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []  # it has ended, or this is no Linux
    return [int(child) for child in listed.split()]


def _seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peaks(pids: Sequence[int]) -> list[int]:
    """Peak resident memory of processes and their children, in MiB."""
    found = []
    for pid in with_children(pids):
        size = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        found.append(int(size.group(1)) // 1024 if size else 0)
    return found


def settle() -> None:
    """Let what the last measurement left behind end: acks, idle connections."""
    time.sleep(0.3)
