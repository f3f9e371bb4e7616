"""`python -m benchmarks.agents`: many agent steps that take long, all at once, on one worker process.

A local gateway answers each after a while. Prints the wall time of the run against that while, the peak memory of
each process, the most threads of the worker, and how many steps parked.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks import place, workers
from models import schema
from models.event import Event
from models.run import Run

GATEWAY = "gateway.json"


def definition(name: str, steps: int, seconds: float) -> dict[str, Any]:
    task = {"title": "Work", "description": f'@gateway {{"delay": {seconds:g}, "reply": "done"}}'}
    nodes = [
        {"id": f"work{no}", "type": "agent", "agent": "worker", "task": task, "timeout": seconds + 300}
        for no in range(steps)
    ]
    return {"name": name, "nodes": nodes}


@contextmanager
def gateway(data_dir: Path, most: int) -> Iterator[int]:
    """The local gateway as a process, with room for `most` runs at once; its process id."""
    line = (sys.executable, "-m", "orchestrator.gateway", "--data-dir", str(data_dir), "--most", str(most))
    child = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not (data_dir / GATEWAY).exists():
            if time.monotonic() > until or child.poll() is not None:
                raise RuntimeError("the gateway does not listen")
            time.sleep(0.05)
        yield child.pid
    finally:
        child.terminate()
        child.wait(20)


def threads(pid: int) -> int:
    """How many threads a process has."""
    found = re.search(r"Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) if found else 0


def measure(deps: Any, own: Any, name: str, worker: int) -> tuple[float, int, int]:
    """Seconds from the trigger to the run's end, the worker's most threads, and how many times a step parked."""
    from orchestrator.services import runs
    from orchestrator.services.runs import Trigger

    created = runs.create(deps, own.actor, name, Trigger())
    began, most = time.time(), 0
    own.send(created.effects)
    while True:
        most = max(most, threads(worker))
        with deps.db.read() as session:
            run = session.get(Run, created.run_id)
            assert run is not None
            if run.finished_at is not None:
                break
        time.sleep(0.1)
    if run.status != "success":
        raise RuntimeError(f"the run is {run.status}: {run.error}")
    parked = select(func.count()).where(
        Event.run_id == created.run_id, Event.type == "step.waiting"
    )
    with deps.db.read() as session:
        return run.finished_at.timestamp() - began, most, session.execute(parked).scalar_one()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agents", description=__doc__)
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379", help="its databases 11 and 12 are taken")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0, help="that each step takes")
    parser.add_argument("--threads", type=int, default=64, help="of the worker process")
    given = parser.parse_args()
    with place.servers(given.database, None, given.redis) as at:
        environ = at.environment()
        os.environ.update(environ)
        from benchmarks.ours import Ours
        from orchestrator.core.document import from_data
        from orchestrator.services import deps as services
        from orchestrator.services import workflows
        from orchestrator.services.idempotency import Once
        from orchestrator.settings import load

        settings = load()
        schema.upgrade(settings.database)
        deps = services.build(settings)
        with (
            gateway(at.data_dir, 2 * given.steps) as door,
            workers.ours(environ, at.data_dir, given.threads) as pids,
        ):
            own = Ours(deps=deps)
            for name, steps, seconds in (("warm", 10, 0.1), ("many", given.steps, given.seconds)):
                document = from_data(definition(name, steps, seconds), deps.limits())
                workflows.create(deps, own.actor, document, Once())
            measure(deps, own, "warm", pids[0])
            seconds, most, parked = measure(deps, own, "many", pids[0])
            print("| steps | s each | s in all | ratio | parked | most threads | peak MiB: worker, others, gateway |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            print(
                f"| {given.steps} | {given.seconds:g} | {seconds:.1f} | {seconds / given.seconds:.2f} | {parked} "
                f"| {most} | {workers.peaks(pids[:1])[0]}, {workers.peaks(pids[1:])}, {workers.peaks([door])[0]} |",
                flush=True,
            )
        deps.close()


if __name__ == "__main__":
    main()
