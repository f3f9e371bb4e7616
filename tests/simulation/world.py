"""One seed: a run, its workers, its broker and its sweeps, until the run has ended or never will."""

import heapq
import random as global_random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from models.queries import leases
from models.queries.leases import Held
from models.states import RUN_TERMINAL, StepStatus
from orchestrator.core.effects import Message, Timer
from orchestrator.services import relays, runs, stops, sweeps
from orchestrator.services.sweeps import SWEEPS
from tests.simulation import workflows
from tests.simulation.broker import Broker, Chord
from tests.simulation.faults import Faults
from tests.simulation.ground import LEASE, START, Ground, Killed
from tests.simulation.operator import Operator
from tests.simulation.workers import Process, SteppedCarrier, Work
from tests.support import graphs
from tests.support.calls import unsettled
from tests.support.engine import NoLeases

HEALED = 15.0  # from here on nothing goes wrong
PATIENCE = 400.0
_OF_AGENTS = {"unserved", "agents", "gateways", "operational", "offers"}  # there are none in these worlds
_BESIDE = {"answers", "audit", "bus", "retention", "schedules", "webhooks"}  # no run goes on by them
_SWEPT = [name for name in SWEEPS if name not in _OF_AGENTS | _BESIDE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a sabotage replaces."""

    carrier: type[SteppedCarrier] = SteppedCarrier
    faults: Callable[[Faults], Faults] = lambda drawn: drawn
    sweeps: bool = True


@dataclass(slots=True, eq=False)
class Job:
    """A message that a process works on."""

    process: Process
    work: Work
    chord: Chord | None
    held: Held | None = None


class World:
    """Everything that happens is an event in `_events`; `trace` tells what did, for those who replay.

    wrong: what was seen to be wrong on the way.
    """

    def __init__(
        self,
        ground: Ground,
        seed: int,
        parts: Parts | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.ground = ground
        self.seed = seed
        self.parts = parts or Parts()
        self.trace = trace
        self.wrong: list[str] = []
        self.run_id = ""
        self.counts: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._mortal = False
        self._jobs: set[Job] = set()
        self.random = Random(self.seed)
        global_random.seed(self.seed)  # the spread of retries
        self.faults = self.parts.faults(Faults.draw(self.random))
        self.workflow = workflows.draw(self.random)
        self.engine = self.ground.reset()
        self.engine.paces.all_cheap = self.faults.batch > 0
        self.ground.database.fate = self._fate
        self.broker = Broker(
            deps=self.engine.deps,
            random=self.random,
            faults=self.faults,
            later=self.later,
            fate=self._fate,
            deliver=self._deliver,
            stop=lambda entry: self.act(self._process(), lambda: stops.carry_out(self.engine.deps, entry)),
            relay=self._relay,
            wake=self._wake,
        )
        self.carrier = self.parts.carrier(
            deps=self.engine.deps,
            send=self.broker.send,
            keeper=NoLeases(db=self.engine.deps.db, seconds=LEASE),
            random=self.random,
        )
        self.processes = [Process(name=f"p{no}") for no in range(self.random.randint(1, 3))]

    def run(self) -> str:
        """Live through it; the run's id."""
        for definition in (*self.workflow.called, self.workflow.definition):
            self.engine.publish(definition)
        created = runs.create(
            self.engine.deps, self.engine.actor, "simulated", runs.Trigger(inputs=graphs.INPUTS)
        )
        self.run_id = created.run_id
        self.act(Process(name="api"), lambda: self.broker.send(created.effects))
        self.operator = Operator(self)
        self.operator.plan()
        if self.parts.sweeps:
            self.later(self.random.random() * self.faults.interval, self._sweep)
        self.later(LEASE / 3, self._renew)
        self.later(HEALED, self._heal)
        while self._events and self.ground.now < START + PATIENCE and not self._over():
            at, _, happen = heapq.heappop(self._events)
            self.ground.now = max(self.ground.now, at)
            happen()
        self.ground.database.fate = lambda place: None
        return self.run_id

    def later(self, seconds: float, happen: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.ground.now + seconds, self._number, happen))

    def _over(self) -> bool:
        """Nothing is at work or on its way, and the run and all that it called have ended."""
        busy = self._jobs or any(self.broker.under_way.values())
        if busy or self.engine.row(self.run_id).status not in RUN_TERMINAL:
            return False
        return not self.workflow.called or not unsettled(self.engine)

    def _heal(self) -> None:
        self.faults = self.broker.faults = self.faults.healed()
        self.operator.resume()

    def _fate(self, place: str) -> None:
        if self._mortal and self.random.random() < self.faults.kill:
            self.tell(f"killed {place}")
            raise Killed

    def act(self, process: Process, act: Callable[[], object]) -> bool:
        """Let a process act; False when it died of it."""
        self._mortal = True
        try:
            act()
        except Killed:
            self._kill(process)
            return False
        finally:
            self._mortal = False
        return True

    def _kill(self, process: Process) -> None:
        """A process ends with all that it holds; another one takes its place."""
        self.counts["killed"] += 1
        process.dead = True
        self._jobs = {job for job in self._jobs if job.process is not process}
        if process in self.processes:
            self.processes[self.processes.index(process)] = Process(name=process.name + "'")

    def _process(self) -> Process:
        return self.random.choice(self.processes)

    def _deliver(self, together: tuple[Message, ...], chord: Chord | None, is_body: bool) -> None:
        """A process takes a message from the broker; what dies with it is gone."""
        for message in together:
            self.tell(f"message {message.path}@{message.attempt}")
            if not is_body and self.engine.statuses(message.run_id)[message.path] == StepStatus.PENDING:
                self.wrong.append(f"a message told of {message.path}, which was never queued")
        if len(together) > 1:
            work = self.carrier.work_all(together, give_back=self.faults.give_back)
        else:
            work = self.carrier.work(
                together[0], in_chord=chord is not None, give_back=self.faults.give_back
            )
        job = Job(self._process(), work, chord)
        self._jobs.add(job)
        self._go_on(job)

    def _go_on(self, job: Job) -> None:
        process = job.process
        if process.dead:
            return
        if process.frozen_until > self.ground.now:
            self.later(process.frozen_until - self.ground.now, lambda: self._go_on(job))
            return
        if self.act(process, lambda: self._step(job)) and job not in self._jobs:
            self.broker.ended(job.chord)

    def _step(self, job: Job) -> None:
        claimed = next(job.work, None)
        if claimed is None:
            self._jobs.discard(job)
            return
        job.held = Held(claimed.info.id, claimed.no, claimed.attempt)
        self.later(self._duration(job.process), lambda: self._go_on(job))

    def _duration(self, process: Process) -> float:
        """How long a body takes; now and then its process freezes, for longer than a lease."""
        if self.random.random() < self.faults.freeze:
            self.counts["frozen"] += 1
            process.frozen_until = self.ground.now + self.random.uniform(0.5, 3) * LEASE
        return self.random.choice((0.0, 0.01, 0.3, self.random.random() * 2 * LEASE))

    def _renew(self) -> None:
        """Each process that is not frozen renews what it holds."""
        for process in list(self.processes):
            held = {job.held for job in self._jobs if job.process is process and job.held is not None}
            if held and process.frozen_until <= self.ground.now:
                self.act(process, lambda held=held: self._renew_all(held))
        self.later(LEASE / 3, self._renew)

    def _renew_all(self, held: set[Held]) -> None:
        with self.engine.deps.db.transaction() as session:
            leases.renew(session, sorted(held), LEASE)

    def _wake(self, timer: Timer) -> None:
        process = self._process()
        self.act(process, lambda: self.broker.send(sweeps.wake(self.engine.deps, timer)))

    def _relay(self, outbox_id: int) -> None:
        deps = self.engine.deps
        self.act(self._process(), lambda: self.broker.send(relays.carry_out(deps, outbox_id)))

    def _sweep(self) -> None:
        """One round of all sweeps, some of them missed."""
        for name in _SWEPT:
            if self.random.random() >= self.faults.miss:
                self.act(self._process(), lambda name=name: self._sweep_one(name))
        self.later(self.faults.interval, self._sweep)

    def _sweep_one(self, name: str) -> None:
        if name == "undispatched":
            backlog = self.broker.backlog if self.seed % 2 else None
            swept = sweeps.undispatched(self.engine.deps, backlog)
        else:
            swept = SWEEPS[name](self.engine.deps)
        self.counts[name] += swept.found
        self.broker.send(swept.effects)

    def tell(self, line: str) -> None:
        if self.trace is not None:
            self.trace(f"{self.ground.now - START:9.3f} {line}")
