"""YAML 1.2 to plain data with the line of each value, from the parser's events: nothing recurses.

Tags are refused. Anchors and aliases are taken as long as they unfold to little; a duplicate key is
reported, a key must be a string. Scalars follow the core schema (YAML 1.2.2, §10.3), so `no` and `on`
are strings and a date is one too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from models.errors import Problem
from orchestrator.core import refusals
from orchestrator.core.pointer import child
from orchestrator.core.yaml_scanner import ChainScanner

# What all aliases of a document may unfold to, in values: a bomb of nine nines would be 387 million.
MAX_ALIASED = 10_000


def read(text: str, max_nesting: int) -> tuple[Any, dict[str, int], list[Problem]]:
    """The value, the line of each pointer, and the problems that leave the rest readable.

    Raises InvalidError of code MALFORMED, TOO_LARGE or TOO_DEEP.
    """
    builder = _Builder(max_nesting=max_nesting)
    try:
        for event in _unfolded(_events(text)):
            builder.take(event)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise refusals.malformed(f"it is no YAML: {error.problem or error.context}", line) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"it is no YAML: the character U+{error.character:04X} is not allowed"
        raise refusals.malformed(message, line) from error
    except (YAMLError, ValueError) as error:
        raise refusals.malformed(f"it is no YAML: {error}") from error
    return builder.root, builder.lines, builder.problems


def _events(text: str) -> Iterator[Event]:
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = ChainScanner
    documents = 0
    for event in yaml.parse(text):
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise refusals.malformed("there is a second document; keep one", _line(event))
        if isinstance(event, NodeEvent | SequenceEndEvent | MappingEndEvent):
            yield event


def _unfolded(events: Iterator[Event]) -> Iterator[Event]:
    """The events with each alias replaced by what its anchor stands before."""
    anchors = _Anchors()
    aliased = 0
    for event in events:
        found = [event]
        if isinstance(event, AliasEvent):
            found = anchors.ended.get(event.anchor, [])
            if not found:
                message = f"the alias *{event.anchor} has no anchor that ended before it; write the value out"
                raise refusals.malformed(message, _line(event))
            aliased += len(found)
            if aliased > MAX_ALIASED:
                message = f"aliases repeat more than {MAX_ALIASED} values; write fewer"
                raise refusals.too_large(message, _line(event))
        anchors.take(event, found)
        yield from found


@dataclass(slots=True)
class _Anchors:
    """The events that each ended anchor stands for; nothing is kept outside of anchors."""

    ended: dict[str, list[Event]] = field(default_factory=dict)
    kept: list[Event] = field(default_factory=list)
    open: list[tuple[str | None, int]] = field(default_factory=list)

    def take(self, event: Event, found: list[Event]) -> None:
        """Note an event of the source and the events that it unfolds to."""
        anchor = getattr(event, "anchor", None)
        starts = isinstance(event, SequenceStartEvent | MappingStartEvent)
        if starts and (anchor is not None or self.open):
            self.open.append((anchor, len(self.kept)))
        if self.open:
            self.kept += found
        if isinstance(event, SequenceEndEvent | MappingEndEvent) and self.open:
            name, start = self.open.pop()
            if name is not None:
                self.ended[name] = self.kept[start:]
            if not self.open:
                self.kept.clear()
        elif isinstance(event, ScalarEvent) and anchor is not None:
            self.ended[anchor] = found


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1


@dataclass(slots=True)
class _Open:
    """A container that has not ended: `key` is the one whose value comes next."""

    value: Any
    pointer: str
    key: str | None = None


@dataclass(slots=True, kw_only=True)
class _Builder:
    """Builds one value from events, with an explicit stack."""

    max_nesting: int
    root: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)

    @property
    def pointer(self) -> str:
        """Where the next value goes."""
        if not self.stack:
            return ""
        top = self.stack[-1]
        return child(top.pointer, len(top.value) if isinstance(top.value, list) else top.key or "")

    def take(self, event: Event) -> None:
        if isinstance(event, SequenceEndEvent | MappingEndEvent):
            self.stack.pop()
            return
        self._refuse_tag(event)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            self._take_key(event, self.stack[-1])
        elif isinstance(event, ScalarEvent):
            self._put(_scalar(event), event)
        else:
            self._open([] if isinstance(event, SequenceStartEvent) else {}, event)

    def _refuse_tag(self, event: Event) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise refusals.malformed(f"the tag {tag} is not allowed; write a plain value", _line(event))

    def _take_key(self, event: Event, top: _Open) -> None:
        if not isinstance(event, ScalarEvent) or not isinstance(key := _scalar(event), str):
            text = event.value if isinstance(event, ScalarEvent) else "a collection"
            raise refusals.malformed(f'the key {text} is no string; write it as "{text}"', _line(event))
        pointer = child(top.pointer, key)
        if key in top.value:
            self.problems.append(refusals.duplicate(pointer, key, _line(event)))
        self.lines[pointer] = _line(event)
        top.key = key

    def _open(self, value: Any, event: Event) -> None:
        pointer = self.pointer
        self._put(value, event)
        if len(self.stack) >= self.max_nesting:
            raise refusals.too_deep(self.max_nesting, pointer, _line(event))
        self.stack.append(_Open(value, pointer))

    def _put(self, value: Any, event: Event) -> None:
        self.lines.setdefault(self.pointer, _line(event))
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            top.value[top.key] = value
            top.key = None


_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def _scalar(event: ScalarEvent) -> Any:
    return plain_scalar(event.value) if event.implicit[0] else event.value


def plain_scalar(text: str) -> Any:
    """What a text without quotes means."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        # Beyond 64 bits all are refused alike, with their pointer, by the check of untrusted values.
        return int(text, 0 if text[1:2] in "ox" else 10) if len(text) <= 25 else 1 << 64
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
