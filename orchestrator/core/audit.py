"""What the audit log says of an act: digests, what has changed, and the link of the chain. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

GENESIS = "0" * 64
LONGEST = 200
_MOST = 50
_SECRET = re.compile(r"token|secret|password|passwd|credential|authorization|api_?key|private_?key", re.IGNORECASE)


def digest(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON of a value: sorted names, no spaces."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def link(previous: str, row: Mapping[str, Any]) -> str:
    """The digest of a row that follows the one of digest `previous`; the first follows `GENESIS`."""
    return digest([previous, dict(row)])


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """`[{field, from, to}]` of the members that differ, by name, 50 at most.

    Of lists and mappings it tells the size alone, since they hold what users sent; of members whose name is that
    of a secret nothing.
    """
    old, new = before or {}, after or {}
    differing = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return [
        {"field": name, "from": _shown(name, old.get(name)), "to": _shown(name, new.get(name))}
        for name in differing[:_MOST]
    ]


def _shown(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, bool) and _SECRET.search(name):
        return "***"
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST] + "…"
    if isinstance(value, Mapping):
        return f"{{{len(value)}}}"
    if isinstance(value, list | tuple):
        return f"[{len(value)}]"
    return value
