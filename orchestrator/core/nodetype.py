"""What a node type says of itself: its own fields, how it is carried, how it is drawn. Pure data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

NOT_SHORT = 30.0  # seconds


class FieldKind(StrEnum):
    """How an own field is checked at write time and treated at dispatch."""

    NAME = "name"  # a literal string; no {{ }}
    STRING = "string"  # a string; {{ }} resolved at dispatch
    OBJECT = "object"  # a mapping; {{ }} in its strings resolved
    LIST = "list"  # a list; {{ }} in its strings resolved
    VALUE = "value"  # any JSON; {{ }} in its strings resolved
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DURATION = "duration"  # as written, or a string with {{ }} that is resolved at dispatch
    SCHEMA = "schema"  # JSON Schema, checked at write time; taken as written
    EXPRESSION = "expression"  # CEL, compiled at write time, evaluated by the handler
    JSONATA = "jsonata"  # JSONata, compiled at write time, evaluated by the handler
    CASES = "cases"  # [{route, when}], each `when` CEL
    BODY = "body"  # {nodes, edges}: the template of a container's branches
    BODY_VALUE = "body_value"  # any JSON; {{ }} resolved in a branch that has ended
    BODY_EXPRESSION = "body_expression"  # CEL over the names of the branch that ended last


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One own field of a node type.

    choices: what a NAME, or a STRING without {{ }}, may be. keys: the only keys that an OBJECT may have.
    key_pattern: what each key of an OBJECT matches. stored: its value is stored, so that it may not name `env`.
    """

    name: str
    kind: FieldKind
    required: bool = False
    choices: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    key_pattern: str | None = None
    stored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeType:
    """A node type, declared beside its handler.

    inline: evaluated within the engine's transaction: no I/O, microseconds.
    passes: its output is its input, kept as a reference.
    calls: it calls another run: its attempts cost what that run costs, and reserve nothing.
    slow: takes 100 ms and more, so that a join of such steps is worth a chord.
    one_of: of each group of field names at least one must be given.
    routes: from a node's own fields, the routes it may select (None: it selects none).
    needs: from a node's own fields, the further fields that it must have.
    container: it has a body, runs it once a branch, and is evaluated by the engine.
    timeout: seconds that an attempt may take where its node has no timeout; None: as long as it takes.
    mistakes: from fields that are right each by itself, what is wrong with them all the same: JSON pointers
    from the node on, each with a message that says how to mend it.
    beats: its handler calls `heartbeat()` of its context while it works, so that a node may have a `heartbeat`.
    people: it waits for people, so that its workflow is long.
    batches: where its handler proves to take under 2 ms, many steps of it may be claimed, done and committed together,
    so that a crash repeats up to 64 of them.
    waits: from a node's own fields, the seconds that it may wait for what comes from outside or for time to pass;
    infinite where nothing bounds it, NOT_SHORT where only the run will tell.
    shape: the pair of Mermaid brackets, such as ("[", "]").
    fields: one of them may be called `queue`; then the common field of that name is this type's own, and its
    steps travel on the type's queue.
    """

    type: str
    fields: tuple[Field, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    inline: bool = False
    passes: bool = False
    calls: bool = False
    slow: bool = False
    external: bool = False
    queue: str = "steps"
    cost_cents: int = 0
    timeout: float | None = None
    shape: tuple[str, str] = ("[", "]")
    routes: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None
    needs: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None
    container: bool = False
    people: bool = False
    batches: bool = True
    beats: bool = False
    waits: Callable[[Mapping[str, Any]], float] | None = None
    mistakes: Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]] | None = None

    @property
    def may_undo(self) -> bool:
        """Whether a step of this type may compensate another one: it decides nothing, and waits for nobody."""
        return not (self.container or self.people or self.routes is not None or self.waits is not None)

    @property
    def owns_queue(self) -> bool:
        """Whether `queue` is a field of this type's own."""
        return any(field.name == "queue" for field in self.fields)
