"""Carries faults out, each in a thread of its own, and waits until what was hit is there again."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.faults import health, processes
from tests.faults.plan import Fault, Kind
from tests.faults.stack import CONTROL, STEPS, Stack
from tests.faults.victims import Victims
from tests.faults.wounds import Record, Wound

PATIENCE = 60.0  # until something that was hit counts as lost for good
SPARING = 20.0  # how long a victim is waited for that is there and whose steps may still be hit
SETTLES = 2.0  # a worker that loses a child while it starts ends with it
_PROCESSES = {Kind.CONTROL: CONTROL, Kind.BEAT: "beat", Kind.API: "api", Kind.GATEWAY: "gateway"}


@dataclass(slots=True, kw_only=True)
class Injuries:
    """Faults under way. Of a server there is one at a time."""

    stack: Stack
    victims: Victims
    record: Record
    _redis: threading.Lock = field(default_factory=threading.Lock)
    _postgres: threading.Lock = field(default_factory=threading.Lock)

    def inflict(self, fault: Fault) -> None:
        """Carry it out; returns when what was hit is there again."""
        match fault.kind:
            case Kind.WORKER:
                self._kill_worker(STEPS[int(fault.pick * len(STEPS))])
            case Kind.CONTROL | Kind.BEAT | Kind.API | Kind.GATEWAY:
                self._kill_part(fault.kind, _PROCESSES[fault.kind])
            case Kind.POOL_CHILD | Kind.API_CHILD:
                self._kill_child(fault)
            case Kind.ZOMBIE:
                self._freeze_worker(fault)
            case Kind.REDIS | Kind.FROZEN_REDIS | Kind.FLUSH:
                with self._redis:
                    self._hurt_redis(fault)
            case Kind.POSTGRES | Kind.POSTGRES_RESTART:
                with self._postgres:
                    self._hurt_postgres(fault)

    def _kill_worker(self, name: str) -> None:
        self._kill(Kind.WORKER, name, lambda: [self._there(name)])

    def _kill_part(self, kind: Kind, name: str) -> None:
        """The parent; a pool's children die with it."""
        self._kill(kind, name, lambda: [self._there(name), *processes.children(self._there(name))])

    def _kill(self, kind: Kind, name: str, doomed: Callable[[], list[int]]) -> None:
        pids = self._choose(doomed)
        if pids is None:
            return
        back = health.returns(self.stack, name, pids[0])
        wound = self._wound(kind, name, pids)
        processes.send(pids[0], signal.SIGKILL)
        self._heal(wound, back)

    def _kill_child(self, fault: Fault) -> None:
        name = CONTROL if fault.kind is Kind.POOL_CHILD else "api"

        def doomed() -> list[int]:
            pool = processes.children(self._there(name))
            return [pool[int(fault.pick * len(pool))]] if pool else []

        pids = self._choose(doomed)
        if pids is None:
            return
        parent = self._there(name)
        size = len(processes.children(parent))
        wound = self._wound(fault.kind, name, pids)
        processes.send(pids[0], signal.SIGKILL)
        self._heal(wound, partial(health.has_children, self.stack, name, size, pids[0]), stays=SETTLES)

    def _freeze_worker(self, fault: Fault) -> None:
        name = STEPS[int(fault.pick * len(STEPS))]
        pids = self._choose(lambda: [self._there(name)])
        if pids is None:
            return
        wound = self._wound(fault.kind, name, pids)
        processes.send(pids[0], signal.SIGSTOP)
        time.sleep(fault.lasts)  # the fault's own time
        processes.send(pids[0], signal.SIGCONT)
        self._heal(wound, lambda: True)

    def _hurt_redis(self, fault: Fault) -> None:
        redis = self.stack.redis
        wound = self._wound(fault.kind, "redis", ())
        if fault.kind is Kind.FLUSH:
            redis.flush()
        elif fault.kind is Kind.REDIS:
            redis.kill()
            time.sleep(fault.lasts)
            redis.start()
        else:
            redis.signal(signal.SIGSTOP)
            time.sleep(fault.lasts)
            redis.signal(signal.SIGCONT)
        self._heal(wound, lambda: True)

    def _hurt_postgres(self, fault: Fault) -> None:
        wound = self._wound(fault.kind, "postgres", ())
        self.stack.postgres.kill(signal.SIGKILL if fault.kind is Kind.POSTGRES else signal.SIGQUIT)
        time.sleep(fault.lasts)
        self.stack.postgres.start()
        self._heal(wound, lambda: health.is_ready(self.stack))

    def _choose(self, doomed: Callable[[], list[int]]) -> list[int] | None:
        """The processes to be hit, once none of their steps would be hit too often; None where that never comes."""
        until = time.monotonic() + SPARING
        while time.monotonic() < until:
            pids = [pid for pid in doomed() if pid]
            if pids and self.victims.may_hit(pids):
                return pids
            time.sleep(0.2)
        self.record.spared += 1
        return None

    def _there(self, name: str) -> int:
        """A part's process; 0 while it is to start again."""
        return self.stack.pid(name) or 0

    def _wound(self, kind: Kind, target: str, pids: Sequence[int]) -> Wound:
        return self.record.add(Wound(kind=kind, target=target, at=time.time(), pids=frozenset(pids)))

    def _heal(self, wound: Wound, is_well: Callable[[], bool], stays: float = 0.0) -> None:
        """Note when all is well, and stays so for some seconds."""
        until, since = time.monotonic() + PATIENCE, float("inf")
        while time.monotonic() < until:
            since = min(since, time.time()) if is_well() else float("inf")
            if time.time() >= since + stays:
                wound.healed_at = since
                return
            time.sleep(0.1)
