"""What goes wrong and when, by the seed: decks of all faults, shuffled, dealt over the time."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

LEASE_SECONDS = 4.0
SWEEP_SECONDS = 1.0
LAST = 0.95  # the last fault comes at this share of the time


class Kind(StrEnum):
    """A fault. Killed is kill -9; frozen is SIGSTOP, and SIGCONT some time later."""

    WORKER = "worker killed"
    CONTROL = "control worker killed"
    POOL_CHILD = "pool child killed"
    ZOMBIE = "worker frozen beyond its lease"
    BEAT = "beat killed"
    API = "API killed"
    API_CHILD = "API's process killed"
    GATEWAY = "gateway killed"
    REDIS = "Redis killed"
    FROZEN_REDIS = "Redis frozen"
    FLUSH = "FLUSHALL"
    POSTGRES = "PostgreSQL killed"
    POSTGRES_RESTART = "PostgreSQL restarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`at`: seconds after the beginning; `lasts`: seconds until what was stopped comes back; `pick` in [0, 1)."""

    kind: Kind
    at: float
    lasts: float
    pick: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A schedule of `seconds` with `runs` runs."""

    seed: int
    seconds: float
    runs: int
    faults: tuple[Fault, ...]


def draw(seed: int, seconds: float, runs: int, mean_gap: float) -> Plan:
    """Faults every `mean_gap` seconds, half to one and a half of it; at least one of each kind."""
    random = Random(seed)
    count = max(len(Kind), round(LAST * seconds / mean_gap))
    gap = LAST * seconds / count
    kinds: list[Kind] = []
    while len(kinds) < count:
        deck = list(Kind)
        random.shuffle(deck)
        kinds += deck
    faults = tuple(
        Fault(
            kind=kind,
            at=gap * (number + random.uniform(0.0, 0.9)),
            lasts=_lasts(kind, random),
            pick=random.random(),
        )
        for number, kind in enumerate(kinds[:count])
    )
    return Plan(seed=seed, seconds=seconds, runs=runs, faults=faults)


def _lasts(kind: Kind, random: Random) -> float:
    if kind is Kind.ZOMBIE:
        return LEASE_SECONDS + random.uniform(2.0, 5.0)
    if kind is Kind.FROZEN_REDIS:
        return random.uniform(1.0, 7.0)
    if kind in (Kind.REDIS, Kind.POSTGRES, Kind.POSTGRES_RESTART):
        return random.uniform(0.0, 3.0)
    return 0.0
