"""The CPU that one side has taken: its processes, the database's connections, Redis."""

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from benchmarks import place, workers
from benchmarks.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """Of the processes `pids` with their children, the connections to `database` (None: it has no server), and the
    Redis at the URL `server`; nothing of RabbitMQ. Calling it gives the seconds so far."""

    pids: Sequence[int]
    database: str | None
    server: str

    def __call__(self) -> float:
        with redis.Redis.from_url(self.server) as client:
            found = client.info("cpu")
        spent = float(found["used_cpu_user"] + found["used_cpu_sys"])
        return spent + workers.cpu_of([*self.pids, *place.backends(self.database)])


def ours(at: Place, pids: Sequence[int]) -> Cpu:
    return Cpu(pids=tuple(pids), database=at.database, server=_redis(at))


def bare(at: Place, pids: Sequence[int]) -> Cpu:
    return Cpu(pids=tuple(pids), database=None, server=_redis(at))


def _redis(at: Place) -> str:
    """The Redis that both sides share."""
    return at.bare_results.replace("redis+socket", "unix").replace("virtual_host", "db")
