"""`Env`: the engine for a test, with mocks in the place of the outside world and a clock that is moved by hand."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from models.errors import InvalidError
from orchestrator.services import fsck, pools, runs, signals, workflows
from orchestrator.services.actors import Actor
from orchestrator.services.idempotency import Once
from orchestrator.services.runs import Trigger
from orchestrator.services.signals import Sent
from orchestrator.testing import ground, sources
from orchestrator.testing.clock import HandClock, instant, span
from orchestrator.testing.errors import BrokenError
from orchestrator.testing.ground import StageDeps
from orchestrator.testing.outcomes import Call
from orchestrator.testing.run import Run
from orchestrator.testing.sources import Source
from orchestrator.testing.stage import names_of
from orchestrator.testing.stagehand import MOST_STEPS, Stagehand

START = "2026-01-01T00:00:00Z"
_TESTER = "tester"


class Env:
    """The engine on a database of its own; use it as a context manager.

    start: the time that it is. auto_skip: time passes by itself to the next retry, and, where nobody outside is
    waited for, to whatever is due next. environ: what `{{env.X}}` reads. settings: other settings than the default
    ones (docs/operations.md), such as max_items. At the end every run is checked for the engine's invariants.
    """

    def __init__(
        self,
        *,
        start: str | float | datetime = START,
        auto_skip: bool = True,
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self._clock = HandClock(instant(start))
        self._begun = self._clock.now()
        self._environ, self._settings = environ or {}, settings
        self._auto_skip = auto_skip
        self._ground: ground.Ground | None = None
        self._hand: Stagehand | None = None
        self._names: set[str] = set()
        self._nodes: dict[str, str | None] = {}  # the type where the engine evaluates it itself

    def __enter__(self) -> "Env":
        self.open()
        return self

    def open(self, template: Path | None = None, *, most_steps: int = MOST_STEPS) -> None:
        """Take the ground; `template` is a migrated database to copy."""
        self._ground = ground.prepare(self._clock, self._environ, template, **self._settings)
        self._hand = Stagehand(
            deps=self._ground.deps, clock=self._clock, auto_skip=self._auto_skip, most_steps=most_steps
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.check()
        finally:
            self.close()

    def close(self) -> None:
        """Leave the ground, with nothing checked."""
        if self._ground is not None:
            self._ground.leave()
        self._ground = self._hand = None

    def check(self) -> None:
        """Raises BrokenError where a run breaks an invariant, AssertionError for a mock that no workflow has a node
        for."""
        broken = [f"{v.invariant} {v.run_id} {v.step}: {v.message}" for v in fsck.check_all(self.deps)]
        if broken:
            raise BrokenError("\n".join(["runs break invariants (docs/operations.md, fsck):", *broken]))
        unknown = [name for name in self.deps.cast.mocks if names_of(name)[-1].partition(":")[0] not in self._nodes]
        if unknown and self._nodes:
            raise AssertionError(f"no workflow of this test has a node for the mock of {', '.join(unknown)}")

    @property
    def deps(self) -> StageDeps:
        """The parts of the engine, for what this class has no method for."""
        if self._ground is None:
            raise RuntimeError("the Env is not open; use it as a context manager: with Env() as env: …")
        return self._ground.deps

    @property
    def hand(self) -> Stagehand:
        """What carries messages and moves the clock."""
        assert self._hand is not None, "the Env is not open"
        return self._hand

    def actor(self, name: str = _TESTER) -> Actor:
        """Whoever acts under a name: each has a key, of every scope."""
        assert self._ground is not None
        own = self._ground.actor
        return Actor(workspace_id=own.workspace_id, key_id=f"key of {name}"[:255], scopes=own.scopes, name=name)

    @property
    def now(self) -> datetime:
        """The time that it is."""
        return datetime.fromtimestamp(self._clock.now(), UTC)

    @property
    def elapsed(self) -> float:
        """The seconds that have passed in this Env."""
        return self._clock.now() - self._begun

    @property
    def calls(self) -> list[Call]:
        """Every attempt that reached a mock, of all runs."""
        return self.deps.cast.calls

    def mock(self, name: str, says: Any) -> "Env":
        """Let a mock stand for the steps of a node, wherever they are: by path (`each[2]/score`), by path without
        numbers (`each/score`), or by the node's name (`score`), the first of these counts.

        says: a value, Done, Fail, NEVER, a function of the Call, or a list of these, one an attempt (the last one
        stays). An agent's mock says what the agent says, an `http` step's what the server answers.
        """
        self.deps.cast.mocks[name] = says
        return self

    def mock_type(self, type: str, says: Any) -> "Env":
        """Let a mock stand for all steps of a type that have none of their own."""
        if type not in self.deps.types:
            raise ValueError(f"there is no node type {type!r}; there are {', '.join(sorted(self.deps.types))}")
        self.deps.cast.types[type] = says
        return self

    def allow(self, *types: str) -> "Env":
        """Let steps of a type reach outside: `http`, or a plug-in's."""
        for type_ in types:
            if type_ in ("agent", "celery"):
                raise ValueError(f"a test has no gateways and no broker: {type_} steps are mocked")
            if type_ not in self.deps.types:
                raise ValueError(f"there is no node type {type_!r}")
        self.deps.cast.allowed.update(types)
        return self

    def define(self, source: Source) -> str:
        """Store a workflow, or the next version of it; its name. Raises InvalidError with every problem."""
        deps, actor = self.deps, self.actor()
        try:
            document = sources.document(source, deps.limits())
            compiled = workflows.compile_(deps, document)
        except InvalidError as error:
            raise sources.explained(error) from None
        name = compiled.plan.workflow
        for node in compiled.plan.nodes:
            self._nodes[node.id] = node.type if node.inline or node.body is not None else None
        if name in self._names:
            workflows.update(deps, actor, name, document, Once())
        else:
            workflows.create(deps, actor, document, Once())
        self._names.add(name)
        return name

    def pool(self, name: str, size: int) -> None:
        """Make a pool, or give it another size."""
        pools.put(self.deps, self.actor(), name, size, Once())

    def run(self, workflow: Source, inputs: Mapping[str, Any] | None = None, **trigger: Any) -> Run:
        """Start a run and go on until nothing is left to do. Raises what the trigger refuses, as the API does.

        workflow: what `define` takes, or the name of a workflow that was defined. trigger: what else the HTTP
        trigger takes: variables, budget, overrides, priority, version, labels.
        """
        name = workflow if isinstance(workflow, str) and workflow in self._names else self.define(workflow)
        self._check_mocks()
        try:
            created = runs.create(self.deps, self.actor(), name, Trigger(inputs=dict(inputs or {}), **trigger))
        except InvalidError as error:
            raise sources.explained(error) from None
        self.hand.send(created.effects)
        self.hand.settle()
        return Run(self, created.run_id)

    def _check_mocks(self) -> None:
        for name in self.deps.cast.mocks:
            type_ = self._nodes.get(names_of(name)[-1])
            if type_ is not None:
                raise ValueError(
                    f"the mock of {name!r} stands for a {type_}, which the engine evaluates itself; leave it out"
                )

    def skip(self, duration: str | float) -> None:
        """Let time pass, such as `14d`; all that falls due in it happens at its moment."""
        self.hand.skip(span(duration))

    def signal(self, signal: str, key: str, data: Any = None, *, id: str | None = None, by: str = _TESTER) -> None:
        """Signal whoever waits for the name and the key."""
        received = signals.to_key(self.deps, self.actor(by), key, Sent(signal=signal, data=data, id=id))
        self.hand.send(received.effects)
        self.hand.settle()
