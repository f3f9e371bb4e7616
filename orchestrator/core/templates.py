"""Strings with `{{ … }}`, split into text and references by one scan from left to right.

Source: spec "definition", Values; spec "reliability" §4 (a backtracking pattern took 8.9 s on 40 KB of `{{`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_MARK = re.compile(r"['\"{}]")
_ROOT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP = re.compile(
    r"""\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d{1,9})\]|\["([^"\\]*)"\]|\['([^'\\]*)'\]""",
)
_INDEX = 2  # the group of `_STEP` that holds a list's index
_QUOTED = {quote: re.compile(rf"{quote}(?:[^{quote}\\\n]|\\.)*+") for quote in "'\""}
_NO_PATH = frozenset({"true", "false", "null"})
_CACHED_LENGTH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """`root.field[0]`, with `?` optional. `text` is as written; keys are strings, indexes integers."""

    text: str
    root: str
    steps: tuple[str | int, ...]
    optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """Anything else between the braces: a CEL expression."""

    text: str


Part = str | Path | Expression


def parse(text: str) -> tuple[Part, ...]:
    """The parts of a string in order: plain text as str, references as Path or Expression.

    `{{` that is never closed is plain text, and so is `{{` followed by another `{{` before its end. Braces
    and quotes inside an expression are matched. Linear in the length.
    """
    return _cached(text) if len(text) <= _CACHED_LENGTH else _parse(text)


def _parse(text: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    end = 0
    for start, stop in _spans(text):
        if start > end:
            parts.append(text[end:start])
        parts.append(_reference(text[start + 2 : stop - 2].strip()))
        end = stop
    if end < len(text) or not parts:
        parts.append(text[end:])
    return tuple(parts)


_cached = lru_cache(maxsize=8192)(_parse)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start, depth = -1, 0  # where the open `{{` stands, and how many single braces are open inside it
    unclosed = {"'": 0, '"': 0}
    position = text.find("{{")
    while position >= 0:
        char = text[position]
        if char == "{" and text.startswith("{{", position):
            start, depth, position = position, 0, position + 2
        elif char == "{":
            depth, position = depth + 1, position + 1
        elif char != "}":
            position = _after_quoted(text, position, unclosed)
        elif depth:
            depth, position = depth - 1, position + 1
        elif text.startswith("}}", position):
            yield start, position + 2
            start, position = -1, position + 2
        else:
            position += 1
        position = text.find("{{", position) if start < 0 else _next_mark(text, position)


def _next_mark(text: str, position: int) -> int:
    found = _MARK.search(text, position)
    return -1 if found is None else found.start()


def _after_quoted(text: str, position: int, unclosed: dict[str, int]) -> int:
    quote = text[position]
    if position < unclosed[quote]:
        return position + 1
    found = _QUOTED[quote].match(text, position)
    end = position + 1 if found is None else found.end()
    if text.startswith(quote, end):
        return end + 1
    # An apostrophe: not closed on its line, and then none of its kind up to there is.
    unclosed[quote] = end
    return position + 1


def _reference(text: str) -> Path | Expression:
    optional = text.endswith("?")
    body = text[:-1].rstrip() if optional else text
    root = _ROOT.match(body)
    if root is None or root.group() in _NO_PATH:
        return Expression(text=text)
    steps: list[str | int] = []
    position = root.end()
    while position < len(body):
        step = _STEP.match(body, position)
        if step is None:
            return Expression(text=text)
        key = step.group(step.lastindex or 0)
        steps.append(int(key) if step.lastindex == _INDEX else key)
        position = step.end()
    return Path(text=text, root=root.group(), steps=tuple(steps), optional=optional)
