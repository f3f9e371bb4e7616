"""Chains of edges: `a >> b >> c`, `a >> [d, e] >> f`. Source: spec "definition", Edges."""

from collections.abc import Iterator
from itertools import pairwise


def links(text: str) -> Iterator[tuple[str, str]]:
    """The pairs (from, to) of a chain, in reading order. Raises ValueError saying what is wrong with it."""
    groups = [_group(part.strip()) for part in text.split(">>")]
    if len(groups) < 2:
        raise ValueError(f'"{text[:80]}" joins nothing; write two ids or more with >> between them')
    for sources, targets in pairwise(groups):
        for source in sources:
            for target in targets:
                yield source, target


def _group(part: str) -> list[str]:
    ids = [part]
    if part.startswith("[") and part.endswith("]"):
        ids = [item.strip() for item in part[1:-1].split(",")]
    for node_id in ids:
        if not node_id or any(mark in node_id for mark in "[],<> \t\n"):
            raise ValueError(f'"{part[:80]}" is no id and no list of ids; write a >> [b, c] >> d')
    if len(set(ids)) < len(ids):
        raise ValueError(f'"{part[:80]}" names an id twice; keep one')
    return ids
