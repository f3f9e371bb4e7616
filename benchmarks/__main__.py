"""`python -m benchmarks`: steps a second and transition latency, beside bare Celery, in one run.

Each shape is run in turn by both sides, `--repeats` times, the side that begins alternating; medians are printed.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import redis

from benchmarks import place, workers
from benchmarks.measured import Compared, Measured, table
from benchmarks.place import Place
from benchmarks.shapes import LARGE, SHAPES, WARM_UP, Shape

Run = Callable[[Shape], Measured]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="shapes, by name: w1,w2,w3,w4")
    parser.add_argument("--large", action="store_true", help="the lattice of 50 × 100 too, once")
    parser.add_argument("--embedded", action="store_true", help="on SQLite and Valkey")
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379", help="its databases 11 and 12 are taken")
    parser.add_argument("--broker", help="a RabbitMQ for both sides; results stay in Redis")
    parser.add_argument("--threads", type=int, default=64, help="of our step worker")
    return parser.parse_args()


@contextmanager
def sides(at: Place, threads: int) -> Iterator[tuple[Run, Run]]:
    """Both sides, ready to run shapes: ours and bare Celery."""
    environ = at.environment()
    os.environ.update(environ)
    sys.path.append(str(place.PLUGIN))
    from benchmarks import bare  # its app, and ours, read the environment when they are imported
    from benchmarks.ours import Ours
    from models import schema
    from orchestrator.services import deps as services
    from orchestrator.settings import load

    settings = load()
    schema.upgrade(settings.database)
    deps = services.build(settings)
    with (
        workers.ours(environ, at.data_dir, threads) as our_pids,
        workers.bare(environ, at.data_dir) as bare_pids,
    ):
        own = Ours(deps=deps)

        def ours_cpu() -> float:
            return workers.cpu_of([*our_pids, *place.backends(at.database)]) + broker_cpu(at)

        def bare_cpu() -> float:
            return workers.cpu_of(bare_pids) + broker_cpu(at)

        try:
            yield (lambda shape: own.run(shape, ours_cpu)), (lambda shape: bare.run(shape, bare_cpu))
        finally:
            deps.close()


def broker_cpu(at: Place) -> float:
    """CPU seconds of the Redis that both sides share; 0 for the part that is RabbitMQ's."""
    url = at.bare_results.replace("redis+socket", "unix").replace("virtual_host", "db")
    with redis.Redis.from_url(url) as client:
        found = client.info("cpu")
    return float(found["used_cpu_user"] + found["used_cpu_sys"])


def compare(shape: Shape, ours: Run, bare: Run, repeats: int) -> Compared:
    """Run a shape by both sides, one after the other."""
    found: dict[Run, list[Measured]] = {ours: [], bare: []}
    for repeat in range(repeats):
        for run in (bare, ours) if repeat % 2 == 0 else (ours, bare):
            workers.settle()
            found[run].append(run(shape))
    return Compared(title=shape.title, ours=found[ours], bare=found[bare])


def main() -> None:
    given = arguments()
    chosen = [shape for shape in SHAPES if not given.only or shape.name in given.only.split(",")]
    where = place.embedded() if given.embedded else place.servers(given.database, given.broker, given.redis)
    with where as at, sides(at, given.threads) as (ours, bare):
        for shape in WARM_UP:
            compare(shape, ours, bare, 1)
        rows = {shape.name: compare(shape, ours, bare, given.repeats) for shape in chosen}
        if given.large:
            rows[LARGE.name] = compare(LARGE, ours, bare, 1)
        print(table(list(rows.values())))
        if "w3" in rows and given.large:
            small = median(run.seconds / run.steps for run in rows["w3"].ours)
            large = median(run.seconds / run.steps for run in rows[LARGE.name].ours)
            print(f"\ntime a step at 5,000 nodes: {large / small:.2f} × that at 200")


if __name__ == "__main__":
    main()
