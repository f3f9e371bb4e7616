"""2,000 seeds of the simulation; a failing one is named, and `python -m tests.simulation --seed N` replays it."""

from collections import Counter

import pytest
from sqlalchemy import select

from models.step import Attempt
from tests.simulation import many
from tests.simulation.ground import ground
from tests.simulation.world import World

SEEDS = 2_000
PART = 125


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_seeds(first: int) -> None:
    failed = many.judge(range(first, first + PART))
    assert failed == [], many.told(failed)


@pytest.mark.parametrize("seed", [3, 14, 159])
def test_a_seed_replays(seed: int) -> None:
    """Twice the same world: what a failing seed shows, it shows again."""

    def lived() -> list[str]:
        lines: list[str] = []
        World(ground(), seed, trace=lines.append).run()
        return lines

    told = lived()
    assert told
    assert lived() == told


def test_what_goes_wrong_does_happen() -> None:
    """Were nothing lost, fenced or killed, the seeds would prove nothing."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        world = World(ground(), seed)
        world.run()
        seen += world.counts
        with world.engine.deps.db.read() as session:
            seen.update(session.scalars(select(Attempt.status)))
    for name in ("killed", "frozen", "leases", "undispatched", "timeouts", "due", "relays", "lost", "fenced"):
        assert seen[name], f"nothing was {name} in 60 seeds: {seen}"
