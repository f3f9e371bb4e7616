"""A document from outside: YAML or JSON text to plain data, refused before anything recursive touches it.

Source: spec "definition"; spec "http-api", small print; spec "reliability" §4.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import InvalidError, Problem
from orchestrator.core import document_yaml, refusals, untrusted
from orchestrator.core.pointer import child, line_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a definition is checked against: bytes, nodes, nested bodies, nested JSON or YAML."""

    max_body_bytes: int = 1 << 20
    max_nodes: int = 10_000
    max_depth: int = 20
    max_nesting: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Plain data and, where the source was YAML, the 1-based line of each JSON pointer."""

    data: Any
    lines: Mapping[str, int] = field(default_factory=dict)


def parse(source: str | bytes, *, media: str, limits: Limits) -> Document:
    """The document in a text of media "yaml" or "json".

    Raises InvalidError: code MALFORMED when it is no such text, TOO_LARGE, TOO_DEEP, else INVALID with
    all problems (duplicate keys, NUL, lone surrogates, numbers beyond 64 bits).
    """
    if media not in ("yaml", "json"):
        raise ValueError(f"media is {media!r}; it is yaml or json")
    _check_size(source, limits.max_body_bytes)
    text = _decoded(source)
    if media == "yaml":
        return _checked(*document_yaml.read(text, limits.max_nesting), limits)
    return _checked(*_read_json(text, limits.max_nesting), limits)


def from_data(data: Any, limits: Limits) -> Document:
    """The document that plain data is; raises InvalidError as `parse` does."""
    return _checked(data, {}, [], limits)


def _checked(data: Any, lines: Mapping[str, int], problems: list[Problem], limits: Limits) -> Document:
    bad = untrusted.problem(data, max_nesting=limits.max_nesting)
    if bad is not None:
        line = line_of(lines, bad.pointer)
        problems.append(Problem(pointer=bad.pointer, code=bad.code, message=bad.message, line=line))
    if problems:
        first = problems[0]
        raise InvalidError(first.message, problems, code="TOO_DEEP" if first.code == "TOO_DEEP" else None)
    return Document(data=data, lines=lines)


def _check_size(source: str | bytes, limit: int) -> None:
    size = len(source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass"))
    if size > limit:
        raise refusals.too_large(f"the document has {size} bytes, {limit} are allowed; make it smaller")


def _decoded(source: str | bytes) -> str:
    if isinstance(source, str):
        return source
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refusals.malformed(f"it is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _read_json(text: str, max_nesting: int) -> tuple[Any, dict[str, int], list[Problem]]:
    _check_nesting(text, max_nesting)
    twice: list[tuple[dict[str, Any], str]] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in found:
            if key in made:
                twice.append((made, key))
            made[key] = value
        return made

    try:
        data = json.loads(text, object_pairs_hook=pairs, parse_int=_integer)
    except json.JSONDecodeError as error:
        message = f"it is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise refusals.malformed(message, error.lineno) from error
    return data, {}, _repeated(data, twice) if twice else []


def _integer(text: str) -> int:
    # Beyond 64 bits all are refused alike, with their pointer, by the check of untrusted values.
    return int(text) if len(text) <= 20 else 1 << 64


_MARK = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


def _check_nesting(text: str, limit: int) -> None:
    """Refuse too many open brackets in one linear pass: the JSON parser recurses."""
    depth, quoted = 0, False
    for match in _MARK.finditer(text):
        mark = match.group()
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark in "[{":
            depth += 1
            if depth > limit:
                raise refusals.too_deep(limit)
        elif not quoted and mark in "]}":
            depth -= 1


def _repeated(data: Any, twice: list[tuple[dict[str, Any], str]]) -> list[Problem]:
    keys: dict[int, list[str]] = {}
    for made, key in twice:
        keys.setdefault(id(made), []).append(key)
    found: list[Problem] = []
    ahead: list[tuple[str, Any]] = [("", data)]
    while ahead:
        pointer, value = ahead.pop()
        if isinstance(value, dict):
            found += [refusals.duplicate(child(pointer, key), key) for key in keys.get(id(value), ())]
            ahead += [(child(pointer, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            ahead += [(child(pointer, no), inner) for no, inner in enumerate(value)]
    return found
