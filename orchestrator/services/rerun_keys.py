"""Idempotency keys of steps that are done anew: `:rN` at their end (spec "engine", Idempotency keys).

N counts the acts of a run after which something was done anew. A node's own key is resolved again at the first
claim after it, since what it names may have changed; until then the step's row holds the default key with `:rN`.
"""

import re

from models.queries.resets import Row

_RERUN = re.compile(r":r([0-9]+)$")


def key_of(run_id: str, row: Row, nth: int) -> str | None:
    """The key that a step works under after the `nth` doing anew; one that has not begun keeps what it has."""
    return f"{default(run_id, row.path)}:r{nth}" if nth and row.attempt else row.idempotency_key


def default(run_id: str, path: str) -> str:
    """The key of a step whose node has none of its own."""
    return f"{run_id}:{path}"


def rerun_of(key: str | None) -> int:
    """The N of a key, 0 where it has none."""
    found = _RERUN.search(key or "")
    return int(found.group(1)) if found else 0
