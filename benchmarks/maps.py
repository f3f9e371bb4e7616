"""`python -m benchmarks.maps`: a map over 1,000 and over 10,000 items with a body of three dispatched nodes.

Prints the time per item of each, the most steps that had a row and had not ended, and the peak memory of each
worker process. The `most` steps are looked at every 50 ms while the run goes on.
"""

import argparse
import os
import sys
import time
from typing import Any

from sqlalchemy import func, select

from benchmarks import place, workers
from models import schema
from models.run import Run
from models.states import STEP_TERMINAL
from models.step import Step

WINDOW = 100


def definition(name: str) -> dict[str, Any]:
    body = {
        "nodes": [{"id": node, "type": "tick"} for node in ("a", "b", "c")],
        "edges": ["a >> b >> c"],
    }
    each = {
        "id": "each",
        "type": "parallel",
        "items": "{{inputs.items}}",
        "max_concurrency": WINDOW,
        "collect": "{{parallel.index}}",
        "body": body,
    }
    return {"name": name, "nodes": [each]}


def measure(deps: Any, own: Any, name: str, items: int) -> tuple[float, int]:
    """Seconds per item, and the most steps that had a row and had not ended."""
    from orchestrator.services import runs
    from orchestrator.services.runs import Trigger

    created = runs.create(deps, own.actor, name, Trigger(inputs={"items": list(range(items))}))
    began, most = time.time(), 0
    own.send(created.effects)
    open_ = (
        select(func.count())
        .select_from(Step)
        .where(Step.run_id == created.run_id, Step.status.not_in(sorted(STEP_TERMINAL)))
    )
    while True:
        with deps.db.read() as session:
            run = session.get(Run, created.run_id)
            assert run is not None
            most = max(most, session.execute(open_).scalar_one())
            if run.finished_at is not None:
                break
        time.sleep(0.05)
    if run.status != "success":
        raise RuntimeError(f"the run is {run.status}: {run.error}")
    return (run.finished_at.timestamp() - began) / items, most


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.maps", description=__doc__)
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379", help="its databases 11 and 12 are taken")
    parser.add_argument("--items", default="1000,10000")
    given = parser.parse_args()
    with place.servers(given.database, None, given.redis) as at:
        environ = at.environment()
        os.environ.update(environ)
        sys.path.append(str(place.PLUGIN))
        from benchmarks.ours import Ours
        from orchestrator.core.document import from_data
        from orchestrator.services import deps as services
        from orchestrator.services import workflows
        from orchestrator.services.idempotency import Once
        from orchestrator.settings import load

        settings = load()
        schema.upgrade(settings.database)
        deps = services.build(settings)
        with workers.ours(environ, at.data_dir, 64) as pids:
            own = Ours(deps=deps)
            workflows.create(deps, own.actor, from_data(definition("map"), deps.limits()), Once())
            measure(deps, own, "map", 100)
            print("| items | ms an item | most open steps (window 100, body 3) | peak MiB of each process |")
            print("| --- | --- | --- | --- |")
            for items in map(int, given.items.split(",")):
                seconds, most = measure(deps, own, "map", items)
                print(f"| {items:,} | {1000 * seconds:.2f} | {most} | {workers.peaks(pids)} |", flush=True)
        deps.close()


if __name__ == "__main__":
    main()
