"""`python -m benchmarks`: steps a second and latency beside bare Celery in the same run, and what a step costs.

Each shape is run by all sides in turn, `--repeats` times, another side beginning each time; medians are printed.
`--million` and `--clients` compare ours with itself instead: on a full database, and beside clients that follow runs.
"""

import argparse

from benchmarks import place
from benchmarks.comparison import Comparison, compare
from benchmarks.costs import costs
from benchmarks.driver import driver
from benchmarks.place import Place
from benchmarks.shapes import SHAPES, chosen

COSTED = 2_000  # steps at most of a shape that is counted too


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help=f"shapes: {','.join(shape.name for shape in SHAPES)}")
    parser.add_argument("--embedded", action="store_true", help="on SQLite and Valkey")
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379", help="its databases 11 and 12 are taken")
    parser.add_argument("--broker", help="a RabbitMQ for both sides; results stay in Redis")
    parser.add_argument("--threads", type=int, default=64, help="of our step worker")
    parser.add_argument("--million", action="store_true", help="W1 to W4 on a full database against an empty one")
    parser.add_argument("--finished", type=int, default=1_000_000, help="finished steps of the full database")
    parser.add_argument("--clients", type=int, help="W1 to W4 beside so many clients that follow runs, and without")
    given = parser.parse_args()
    if given.embedded and (given.million or given.clients):
        parser.error("--million and --clients are measured on PostgreSQL")
    return given


def main() -> None:
    given = arguments()
    if given.million:
        from benchmarks.full import full

        print(full(given))
    elif given.clients:
        from benchmarks.beside import beside

        print(beside(given))
    else:
        where = place.embedded() if given.embedded else place.servers(given.database, given.broker, given.redis)
        with where as at:
            default(at, given)


def default(at: Place, given: argparse.Namespace) -> None:
    shapes = chosen(given.only, SHAPES)
    with driver(at.environment()) as own:
        result = compare(at, own, shapes, given.threads, given.repeats)
    print(result.table())
    print("\n".join(["", *notes(result, given.repeats)]), flush=True)
    counted = [shape for shape in shapes if shape.steps <= COSTED and shape.work == "nothing"]
    if counted and at.database is not None:
        print("\n" + costs(at, counted, given.threads))


def notes(result: Comparison, asked: int) -> list[str]:
    """What is to be said beside the table."""
    fewer = [f"{shape.title} of {shape.repeats(asked)}" for shape in result.shapes if shape.repeats(asked) < asked]
    said = f"Medians of {asked}; {', '.join(fewer)}." if fewer else f"Medians of {asked}."
    return [f"- {line}" for line in (said, *result.growth(), *result.memory())]


if __name__ == "__main__":
    main()
