"""What differs between two documents, by JSON pointer.

In a list of objects that have an `id` (nodes) those of the same id are compared, wherever they stand; in other
lists of objects (edges, which have none) equal ones are matched; all other lists go item by item.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from orchestrator.core.pointer import child

_Pair = tuple[str, Any, Any]


class _Absent:
    """Stands for what is not there, which null is not."""


_ABSENT = _Absent()


def diff(old: Any, new: Any) -> dict[str, list[dict[str, Any]]]:
    """`{added: [{pointer, value}], removed: [{pointer, value}], changed: [{pointer, from, to}]}`.

    Pointers of what was removed are into the old document, all others into the new one.
    """
    found: dict[str, list[dict[str, Any]]] = {"added": [], "removed": [], "changed": []}
    ahead: list[_Pair] = [("", old, new)]
    while ahead:
        pointer, before, after = ahead.pop()
        if isinstance(before, _Absent):
            found["added"].append({"pointer": pointer, "value": after})
        elif isinstance(after, _Absent):
            found["removed"].append({"pointer": pointer, "value": before})
        elif type(before) is type(after) and isinstance(before, dict | list):
            ahead += reversed(list(_inner(pointer, before, after)))
        elif not _same(before, after):
            found["changed"].append({"pointer": pointer, "from": before, "to": after})
    return found


def _same(before: Any, after: Any) -> bool:
    # True == 1 in Python, and they are two things in JSON.
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)


def _inner(pointer: str, before: Any, after: Any) -> Iterator[_Pair]:
    if isinstance(before, dict):
        for key in dict.fromkeys((*before, *after)):
            yield child(pointer, key), before.get(key, _ABSENT), after.get(key, _ABSENT)
    elif _have_ids(before) and _have_ids(after):
        yield from _by_id(pointer, before, after)
    elif all(isinstance(item, dict) for item in (*before, *after)):
        yield from _by_value(pointer, before, after)
    else:
        for no in range(max(len(before), len(after))):
            was, is_ = (items[no] if no < len(items) else _ABSENT for items in (before, after))
            yield child(pointer, no), was, is_


def _have_ids(items: list[Any]) -> bool:
    ids = [item.get("id") if isinstance(item, dict) else None for item in items]
    return all(isinstance(found, str) for found in ids) and len(set(ids)) == len(ids)


def _by_id(pointer: str, before: list[Any], after: list[Any]) -> Iterator[_Pair]:
    places = {item["id"]: no for no, item in enumerate(before)}
    for no, item in enumerate(after):
        was = places.pop(item["id"], None)
        yield child(pointer, no), _ABSENT if was is None else before[was], item
    for no in places.values():
        yield child(pointer, no), before[no], _ABSENT
    kept = [{item["id"] for item in items} for items in (before, after)]
    orders = [[item["id"] for item in items if item["id"] in kept[0] & kept[1]] for items in (before, after)]
    if orders[0] != orders[1]:
        yield pointer, "order: " + ", ".join(orders[0]), "order: " + ", ".join(orders[1])


def _by_value(pointer: str, before: list[Any], after: list[Any]) -> Iterator[_Pair]:
    texts = [[json.dumps(item, sort_keys=True) for item in items] for items in (before, after)]
    for items, mine, others, was in ((after, texts[1], texts[0], False), (before, texts[0], texts[1], True)):
        left = Counter(others)
        for no, (item, text) in enumerate(zip(items, mine, strict=True)):
            left[text] -= 1
            if left[text] < 0:
                yield (child(pointer, no), item, _ABSENT) if was else (child(pointer, no), _ABSENT, item)
