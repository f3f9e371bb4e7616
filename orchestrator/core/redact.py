"""Secrets taken out of what is stored, shown or logged.

Source: spec "definition", Values: an output or error that holds the value of an allowed `env` name.
"""

import json
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST = 4
MASK = "***"


def redact(value: Any, secrets: Collection[str]) -> Any:
    """The value with every occurrence of a secret in any string, also in keys, replaced by `***`.

    Secrets shorter than 4 characters are left: they would blank out ordinary text. A secret is also found as
    it is written inside JSON text and in URLs, and where a number is written as the secret is. The value
    itself is not changed.
    """
    pattern = _pattern(frozenset(secret for secret in secrets if len(secret) >= SHORTEST))
    return value if pattern is None else _redact(value, pattern)


def begun(text: str, secrets: Collection[str]) -> int:
    """How many characters at the end of a text may be the beginning of a secret that goes on after it."""
    known = _known(frozenset(secret for secret in secrets if len(secret) >= SHORTEST))
    return max((_overlap(text, spelling) for spelling in known), default=0)


def _overlap(text: str, spelling: str) -> int:
    most = min(len(text), len(spelling) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(spelling[:size])), 0)


@lru_cache(maxsize=64)
def _known(secrets: frozenset[str]) -> frozenset[str]:
    return frozenset(spelling for secret in secrets for spelling in _spellings(secret))


@lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    spellings = _known(secrets)
    if not spellings:
        return None
    longest_first = sorted(spellings, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)))


def _spellings(secret: str) -> set[str]:
    found = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    if secret.isprintable():
        found |= {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    return found


def _redact(value: Any, pattern: re.Pattern[str]) -> Any:
    holder: list[Any] = [value]
    stack: list[tuple[Any, Any]] = [(holder, 0)]  # where a value stands that is still to be cleaned
    while stack:
        target, key = stack.pop()
        item = target[key]
        if isinstance(item, str):
            target[key] = pattern.sub(MASK, item)
        elif isinstance(item, dict):
            clean = {_key(name, pattern): below for name, below in item.items()}
            target[key] = clean
            stack.extend((clean, name) for name in clean)
        elif isinstance(item, (list, tuple)):
            target[key] = copy = list(item)
            stack.extend((copy, index) for index in range(len(copy)))
        elif type(item) in (int, float) and pattern.fullmatch(json.dumps(item)):
            target[key] = MASK
    return holder[0]


def _key(name: Any, pattern: re.Pattern[str]) -> Any:
    return pattern.sub(MASK, name) if isinstance(name, str) else name
