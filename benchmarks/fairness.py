"""`python -m benchmarks.fairness`: how long 10 steps take while another workspace has 10,000 waiting.

Steps of 200 ms, one worker with concurrency 4. The 10 are run alone, then beside the 10,000, five times each; the
medians are to be within a factor of three. Ends with 1 when they are not.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmarks import place, workers
from models import schema
from models.queries import workspaces
from models.run import Run
from models.step import Step
from orchestrator.core.document import from_data
from orchestrator.services import deps as services
from orchestrator.services import runs, workflows
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.runs import Trigger
from orchestrator.settings import load
from tasks import canvas

MANY, FEW, CONCURRENCY, REPEATS, FACTOR = 10_000, 10, 4, 5, 3.0
WIDTH = 1_000
LIMIT = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--embedded", action="store_true", help="on SQLite and Valkey")
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379", help="its databases 11 and 12 are taken")
    given = parser.parse_args()
    where = place.embedded() if given.embedded else place.servers(given.database, None, given.redis)
    with where as at, installation(at) as deps:
        many, few = actor(deps, "many"), actor(deps, "few")
        publish(deps, many, WIDTH)
        publish(deps, few, FEW)
        timed(deps, few)  # the first run of all waits for workers to start
        alone = [timed(deps, few) for _ in range(REPEATS)]
        started = [start(deps, many) for _ in range(MANY // WIDTH)]
        beside = [timed(deps, few) for _ in range(REPEATS)]
        print(report(alone, beside, waiting(deps, started)))
    sys.exit(0 if median(beside) <= FACTOR * median(alone) else 1)


@contextmanager
def installation(at: place.Place) -> Iterator[Deps]:
    """Workers and beat, with nothing said of the window: it follows from what they consume."""
    environ = at.environment()
    os.environ.update(environ)
    sys.path.append(str(place.PLUGIN))
    settings = load()
    schema.upgrade(settings.database)
    deps = services.build(settings)
    with workers.ours(environ, at.data_dir, CONCURRENCY):
        try:
            yield deps
        finally:
            deps.close()


def actor(deps: Deps, name: str) -> Actor:
    """Who acts in a workspace of this name, made here."""
    with deps.db.transaction() as session:
        workspaces.add(session, name, datetime.now(UTC))
        found = workspaces.find(session, name)
    assert found is not None
    return Actor(workspace_id=found.id, key_id="bench", scopes=frozenset({"admin"}), name=name)


def publish(deps: Deps, owner: Actor, width: int) -> None:
    """The workflow `naps`: steps that wait for nothing but a worker."""
    nodes = [{"id": f"n{no}", "type": "nap"} for no in range(width)]
    workflows.create(deps, owner, from_data({"name": "naps", "nodes": nodes}, deps.limits()), Once())


def start(deps: Deps, owner: Actor) -> str:
    created = runs.create(deps, owner, "naps", Trigger())
    canvas.sender(deps)(created.effects)
    return created.run_id


def timed(deps: Deps, owner: Actor) -> float:
    """Seconds from the trigger to the end of a run. Raises RuntimeError when it does not end."""
    began = time.monotonic()
    run_id = start(deps, owner)
    while time.monotonic() - began < LIMIT:
        with deps.db.glance() as session:
            status = session.execute(select(Run.status).where(Run.id == run_id)).scalar_one()
        if status == "success":
            return time.monotonic() - began
        time.sleep(0.01)
    raise RuntimeError(f"run {run_id} did not end in {LIMIT:g} s")


def waiting(deps: Deps, started: list[str]) -> int:
    """How many steps of these runs wait still."""
    with deps.db.glance() as session:
        return _queued(session, started)


def _queued(session: Session, started: list[str]) -> int:
    query = select(func.count()).where(Step.run_id.in_(started), Step.status == "queued")
    return int(session.execute(query).scalar_one())


def report(alone: list[float], beside: list[float], left: int) -> str:
    """A Markdown table."""
    rows = (("alone", alone), (f"beside {MANY:,}, of which {left:,} still wait at the end", beside))
    lines = [f"| {FEW} steps | median s | all |", "| --- | --- | --- |"]
    for title, seconds in rows:
        lines.append(f"| {title} | {median(seconds):.2f} | {' '.join(f'{s:.2f}' for s in seconds)} |")
    return "\n".join([*lines, "", f"{median(beside) / median(alone):.2f} × their time alone"])


if __name__ == "__main__":
    main()
