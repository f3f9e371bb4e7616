"""One schedule from its beginning to its verdict."""

import itertools
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from models.database import OUTAGES
from orchestrator.client import Client
from orchestrator.services import deps as services
from orchestrator.services.deps import Deps
from tests.faults import books as accounts
from tests.faults import evidence, recovery, verdict, workload
from tests.faults.injuries import Injuries
from tests.faults.insistence import Insistence
from tests.faults.load import Load
from tests.faults.office import Office
from tests.faults.plan import Plan
from tests.faults.report import Report
from tests.faults.stack import Stack, running
from tests.faults.verdict import Finding
from tests.faults.victims import Victims
from tests.faults.workflows.agents import REGISTERED
from tests.faults.wounds import Record

LOADED = 0.9  # the share of the time in which runs are started
STUCK_SECONDS = 180.0  # after the last heal; what ends between this and the limit is late, the rest is stuck
SETTLED = 90.0  # seconds that the last fault and the last start may take


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The parts of one schedule under way."""

    plan: Plan
    stack: Stack
    deps: Deps
    client: Client
    load: Load
    office: Office
    injuries: Injuries

    def live(self) -> float:
        """Let everything happen, then wait for the end of all runs; when everything was healed."""
        self.load.begin()
        self.office.begin()
        self._inflict()
        self.load.join(SETTLED)
        healed = min(time.time(), self.injuries.record.last_healed())
        until = max(healed + STUCK_SECONDS, time.time() + 1)
        while time.time() < until and not self._is_over():
            time.sleep(0.5)
        return healed

    def close(self) -> None:
        """Everybody goes home."""
        self.load.insistence.ended.set()
        self.load.close()
        self.office.close()
        self.client.close()
        self.deps.close()

    def _inflict(self) -> None:
        began, threads = time.monotonic(), []
        for fault in self.plan.faults:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            threads.append(threading.Thread(target=self.injuries.inflict, args=(fault,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(SETTLED)

    def _is_over(self) -> bool:
        try:
            return accounts.is_over(self.deps.db, self.plan.runs)
        except OUTAGES:
            return False


def conduct(plan: Plan, directory: Path) -> Report:
    """Live through a plan; logs and evidence lie in `directory`."""
    with running(directory) as stack:
        schedule = _prepared(plan, stack)
        try:
            report = _judged(schedule, schedule.live())
            evidence.write(directory / "evidence", schedule.client, report.findings, report.record.wounds)
            return report
        finally:
            schedule.close()


def _prepared(plan: Plan, stack: Stack) -> Schedule:
    client = stack.client(timeout=30.0)
    for definition in workload.definitions(stack.effects):
        client.workflows.create(definition)
    for name, role, capabilities in REGISTERED:
        client.agents.register(name, role, capabilities, gateway="local")
    second = client.keys.create("bob", ["read", "operate"])["key"]
    bob = Client(stack.url, api_key=second, timeout=10.0, retries=2)
    insistence, deps = Insistence(), services.build(stack.settings)
    office = Office(voters=(stack.client(), bob), insistence=insistence)
    jobs = workload.jobs(plan.seed, plan.runs, LOADED * plan.seconds)
    return Schedule(
        plan=plan,
        stack=stack,
        deps=deps,
        client=client,
        load=Load(jobs=jobs, client=stack.client(), insistence=insistence, tell=office.told),
        office=office,
        injuries=Injuries(stack=stack, victims=Victims(deps.db), record=Record()),
    )


def _judged(schedule: Schedule, healed: float) -> Report:
    load, stack = schedule.load, schedule.stack
    books = accounts.read(schedule.deps.db)
    effects = stack.effects_seen()
    wounds = schedule.injuries.record.wounds
    returns = list(recovery.interrupted(books, wounds))
    ends = [run.finished_at.timestamp() for run in books.runs if run.finished_at is not None]
    to_end = max(0.0, max(ends, default=0.0) - healed)
    findings = itertools.chain(
        verdict.unhealed(wounds),
        verdict.lost(books, load.jobs, load.accepted),
        verdict.stuck(books),
        verdict.wrong(schedule.client, books, load.jobs, load.accepted),
        verdict.doubled(effects, books),
        verdict.broken(schedule.deps),
        verdict.late(returns, to_end),
    )
    return Report(
        plan=schedule.plan,
        record=schedule.injuries.record,
        books=books,
        effects=effects,
        returns=returns,
        agents_again=sum(_done_again(stack.settings.data_dir / "gateway.db")),
        unanswered=Counter(load.insistence.seen),
        seconds_to_end=to_end,
        findings=list[Finding](findings),
    )


def _done_again(ledger: Path) -> Iterator[int]:
    """How often the agents' gateway completed a step's work more than once, under the keys of several attempts."""
    with closing(sqlite3.connect(ledger)) as database:
        rows = database.execute("SELECT run_id FROM run WHERE status = 'completed'").fetchall()
    for count in Counter(key.rpartition(":")[0] for (key,) in rows).values():
        yield count - 1
