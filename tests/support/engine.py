"""The whole engine in one process, without Celery: services, database, and a broker that is a list."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from models.base import uuid7
from models.database import Database
from models.run import Run, RunData
from models.step import Step
from models.workflow import Workflow, WorkflowVersion
from models.workspace import Workspace
from orchestrator import registry
from orchestrator.core.definition import compile_definition
from orchestrator.core.document import from_data
from orchestrator.core.effects import (
    Arrange,
    Deliver,
    Effect,
    Look,
    Message,
    Relay,
    Release,
    Resume,
    Stop,
    Timer,
    Wave,
)
from orchestrator.core.lanes import parse
from orchestrator.core.plan import Plan
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.services import concurrency, lanes, looking, relays, runs, sweeps
from orchestrator.services.actors import Actor
from orchestrator.services.clock import VirtualClock
from orchestrator.services.deps import Deps
from orchestrator.services.leases import LeaseKeeper
from orchestrator.services.paces import Paces
from orchestrator.services.plans import PlanCache
from orchestrator.services.runs import Trigger
from orchestrator.services.steps import Carrier
from orchestrator.settings import Settings

# No run goes on by these. What tests them runs them by name.
BESIDES = frozenset({"audit", "bus", "operational", "retention", "schedules", "webhooks"})


class NoLeases(LeaseKeeper):
    """For processes that never outlive a lease: nothing to renew."""

    def _run(self) -> None:
        return


@dataclass(slots=True)
class FixedPaces(Paces):
    """No clock decides which types are cheap: all are or none is."""

    all_cheap: bool = False
    all_quick: bool = False

    def took(self, type_: str, seconds: float) -> None:
        return

    @property
    def any_cheap(self) -> bool:
        return self.all_cheap

    def cheap(self, type_: str) -> bool:
        return self.all_cheap

    def quick(self, type_: str) -> bool:
        return self.all_quick


@dataclass(slots=True, kw_only=True)
class Engine:
    """Runs what it is told to, in order; `waves` has every wave that was sent."""

    deps: Deps
    actor: Actor
    carrier: Carrier = field(init=False)
    inbox: list[tuple[Message, bool]] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    resumes: list[Message] = field(default_factory=list)
    looks: list[Message] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    deliveries: list[Deliver] = field(default_factory=list)

    def __post_init__(self) -> None:
        keeper = NoLeases(db=self.deps.db, seconds=self.deps.settings.lease_seconds)
        # What a message goes on with is the same however slow the machine is.
        self.carrier = Carrier(
            deps=self.deps, send=self.send, keeper=keeper, continue_seconds=math.inf, flush_seconds=math.inf
        )

    @property
    def paces(self) -> FixedPaces:
        """What decides whether steps go many at a time."""
        assert isinstance(self.deps.paces, FixedPaces)
        return self.deps.paces

    def send(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Wave():
                    self.waves.append(effect)
                    self.inbox += [(message, effect.join is not None) for message in effect.messages]
                    if effect.join is not None:
                        self.inbox.append((effect.join, False))
                case Resume(message=message):
                    self.resumes.append(message)
                case Look(message=message):
                    self.looks.append(message)
                    self.send(looking.look(self.deps, message.run_id, message.no, message.attempt, None))
                case Timer():
                    self.timers.append(effect)
                case Stop():
                    self.stops.append(effect)
                case Relay():
                    self.relays.append(effect)
                case Arrange(key=key):
                    self.send(concurrency.arrange(self.deps, key))
                case Deliver():
                    self.deliveries.append(effect)
                case Release(lane=lane, seconds=0.0):
                    self.send(lanes.release(self.deps, parse(lane)))
                case Release():
                    self.releases.append(effect)

    def publish(self, definition: dict[str, Any]) -> Plan:
        """Store a definition as a workflow; its plan."""
        compiled = compile_definition(
            from_data(definition, self.deps.limits()),
            types=self.deps.types,
            limits=self.deps.limits(),
            env_allow=self.deps.settings.env_allow,
        )
        now = datetime.now(UTC)
        workflow_id = uuid7()
        with self.deps.db.transaction() as session:
            session.add(
                Workflow(
                    id=workflow_id,
                    workspace_id=self.actor.workspace_id,
                    name=compiled.plan.workflow,
                    current_version=1,
                    created_at=now,
                    updated_at=now,
                )
            )
            session.flush()
            session.add(
                WorkflowVersion(
                    workflow_id=workflow_id,
                    number=1,
                    digest=compiled.digest,
                    definition=compiled.definition,
                    plan=json.dumps(compiled.plan.to_json()),
                    classification=compiled.classification,
                    estimated_cost_cents=compiled.estimated_cost_cents,
                    estimate_is_lower_bound=compiled.estimate_is_lower_bound,
                    created_at=now,
                )
            )
        return compiled.plan

    def start(self, workflow: str, **trigger: Any) -> str:
        created = runs.create(self.deps, self.actor, workflow, Trigger(**trigger))
        self.send(created.effects)
        return created.run_id

    def drain(self, *, most: int = 10_000) -> None:
        """Carry messages until none is left."""
        while self.inbox or self.relays or self.resumes:
            most -= 1
            assert most > 0, "messages without end"
            if self.relays:
                self.relay(self.relays.pop(0))
                continue
            if self.resumes:
                self.carrier.resume(self.resumes.pop(0))
                continue
            message, in_chord = self.inbox.pop(0)
            self.carrier.carry(message, in_chord=in_chord)

    def relay(self, effect: Relay) -> None:
        """Pass on what runs tell each other."""
        self.send(relays.carry_out(self.deps, effect.outbox_id))

    def sweep(self) -> None:
        """Every sweep by which runs go on, once; without the stamps by which workers know that somebody sweeps."""
        for name, sweep in sweeps.SWEEPS.items():
            if name not in BESIDES:
                self.send(sweep(self.deps).effects)

    def run(self, workflow: str, **trigger: Any) -> str:
        """Start a run, carry it as far as it goes without time passing; its id."""
        run_id = self.start(workflow, **trigger)
        self.drain()
        return run_id

    def row(self, run_id: str) -> Run:
        with self.deps.db.read() as session:
            found = session.get(Run, run_id)
            assert found is not None
            return found

    def data(self, run_id: str) -> RunData:
        with self.deps.db.read() as session:
            found = session.get(RunData, run_id)
            assert found is not None
            return found

    def statuses(self, run_id: str) -> dict[str, str]:
        with self.deps.db.read() as session:
            rows = session.execute(
                select(Step.path, Step.status).where(Step.run_id == run_id).order_by(Step.no)
            )
            return dict(rows.all())


def make(
    database: Database, *, clock: Callable[[], float] | None = None, settings: Settings | None = None
) -> Engine:
    """An engine on a migrated database, with a workspace of its own. `clock` gives virtual time."""
    settings = settings or Settings(event_bus="memory://")
    deps = Deps(
        settings=settings,
        db=database,
        clock=VirtualClock() if clock is None else FunctionClock(read=clock),
        types=registry.node_types(),
        plans=PlanCache(),
        outbound=GuardedOutbound(settings.http_allow),
        process="test:1",
        paces=FixedPaces(),
    )
    workspace_id = uuid7()
    with database.transaction() as session:
        session.add(Workspace(id=workspace_id, name=workspace_id, created_at=datetime.now(UTC)))
    actor = Actor(workspace_id=workspace_id, key_id="test", scopes=frozenset({"admin"}), name="test")
    return Engine(deps=deps, actor=actor)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionClock:
    """A clock that a test moves."""

    read: Callable[[], float]

    def now(self) -> float:
        return self.read()

    def real(self, seconds: float) -> float:
        return seconds
