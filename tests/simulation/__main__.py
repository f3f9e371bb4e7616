"""`python -m tests.simulation --seed N` tells what happens in one seed; `--seeds N --processes P` runs many."""

import argparse
import os
import sys

from tests.simulation import many


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one and tell what happens")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.seed is not None:
        return replay(given.seed)
    failed = many.run(given.first, given.seeds, given.processes)
    if failed:
        print("replay one with: python -m tests.simulation --seed N")
    return int(failed > 0)


def replay(seed: int) -> int:
    """One seed, told line by line."""
    many.prepare()
    from tests.simulation import verdict
    from tests.simulation.ground import ground
    from tests.simulation.world import World

    world = World(ground(), seed, trace=print)
    print(world.faults)
    definition = world.workflow.definition
    print(*definition["nodes"], *definition["edges"], sep="\n")
    print({key: definition.get(key) for key in ("on_failure", "budget", "timeout")})
    wrong = verdict.of(world)
    print(*(wrong or ["nothing is wrong"]), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
