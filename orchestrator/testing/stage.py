"""The stage: node types as the engine finds them in a test. What reaches the outside world is played by mocks."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from orchestrator import registry
from orchestrator.core.nodetype import NodeType
from orchestrator.core.outcome import Again, Failed, Outcome, Succeeded, Waiting
from orchestrator.ports import Answering, NodeHandler, Parked, StepContext
from orchestrator.testing.errors import Halt, UnmockedError
from orchestrator.testing.outcomes import Call, Said, said

# Built-in types that reach nothing outside: they really run.
INSIDE = frozenset(registry.BUILT_IN) - {"agent", "http", "celery"}
_INDEX = re.compile(r"\[\d+\]")
Attempt = tuple[str, int, int]
Play = Callable[[Call], Said | Waiting | None]


@dataclass(slots=True, kw_only=True)
class Cast:
    """Who plays which step, and what was played.

    allowed: types that may reach outside; outside: further ones that may not. play: goes before the mocks.
    parks_unmocked: a step without a mock waits, instead of ending the test.
    """

    mocks: dict[str, Any] = field(default_factory=dict)
    types: dict[str, Any] = field(default_factory=dict)
    allowed: set[str] = field(default_factory=set)
    outside: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    unmocked: list[Call] = field(default_factory=list)
    delays: dict[Attempt, float] = field(default_factory=dict)
    parks_unmocked: bool = False
    play: Play | None = None

    def perform(self, ctx: StepContext, inside: bool) -> Outcome | None:
        """What is said in a handler's place; None: the handler itself is to work."""
        call = _call(ctx)
        try:
            found = self._said(call)
        except Exception as error:
            raise Halt(error) from error
        if found is None and ((inside and call.type not in self.outside) or call.type in self.allowed):
            return None
        self.calls.append(call)
        if found is None:
            return self._unmocked(call)
        if isinstance(found, Waiting):
            return found
        if found.after is not None:
            self.delays[call.run_id, ctx.no, call.attempt] = found.after
        return found.outcome

    def _said(self, call: Call) -> Said | Waiting | None:
        if self.play is not None and (played := self.play(call)) is not None:
            return played
        for name in names_of(call.path):
            if name in self.mocks:
                return said(self.mocks[name], call)
        return said(self.types[call.type], call) if call.type in self.types else None

    def _unmocked(self, call: Call) -> Outcome:
        self.unmocked.append(call)
        if self.parks_unmocked:
            return Waiting(reason="a mock: there is none for it")
        raise Halt(UnmockedError(self._sentence(call)))

    def _sentence(self, call: Call) -> str:
        name = names_of(call.path)[-1]
        near = get_close_matches(name, self.mocks, n=1)
        meant = f" (there is a mock of {near[0]!r})" if near else ""
        return (
            f"step {call.path!r} of workflow {call.workflow!r} is of the type {call.type}, which reaches outside "
            f"of the test, and has no mock{meant}; write env.mock({name!r}, {{…}}) or "
            f"env.mock_type({call.type!r}, {{…}})"
        )


def names_of(path: str) -> tuple[str, ...]:
    """The names that a mock of a step may have: its path, without the numbers of branches, its last part."""
    plain = _INDEX.sub("", path)
    return (path, plain, plain.rpartition("/")[2])


def _call(ctx: StepContext) -> Call:
    return Call(
        run_id=ctx.run_id,
        workflow=ctx.workflow,
        path=ctx.path,
        node=ctx.node_id,
        type=ctx.type,
        attempt=ctx.attempt,
        input=ctx.input,
        fields=ctx.fields,
        idempotency_key=ctx.idempotency_key,
    )


class Player:
    """A node type whose steps mocks may play."""

    def __init__(self, cast: Cast, real: NodeHandler, type_: NodeType) -> None:
        self.TYPE = type_
        self._cast, self._real = cast, real

    def execute(self, ctx: StepContext) -> Outcome:
        """What a mock says, else what the type's own handler does."""
        played = self._cast.perform(ctx, self.TYPE.type in INSIDE)
        return self._real.execute(ctx) if played is None else played


class AskedPlayer(Player):
    """A node type whose parked steps are asked for their answer; those of a mock have none."""

    def answer(self, parked: Parked) -> Succeeded | Failed | Again | None:
        """The real handler's answer, where it is the one that parked the step."""
        assert isinstance(self._real, Answering)
        return self._real.answer(parked)


def handlers(cast: Cast, real: Mapping[str, NodeHandler]) -> dict[str, NodeHandler]:
    """Every node type, on the stage."""
    found: dict[str, Any] = {}
    for name, handler in real.items():
        asked = name in INSIDE and isinstance(handler, Answering)
        found[name] = (AskedPlayer if asked else Player)(cast, handler, handler.TYPE)
    return found


