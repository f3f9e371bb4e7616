"""How much work a JSON Schema makes of a value, counted before the validator starts.

References that branch make it exponential: 20 definitions that each refer twice to the one before took 24 s,
two alternatives that both go into the items of 16 nested lists 12 s, and nothing can stop it (measured).
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from orchestrator.core.pointer import child

MAX_WORK = 200_000

_ALSO = ("allOf", "anyOf", "oneOf")
_ALSO_ONE = ("not", "if", "then", "else")
_EVERY_ITEM = ("items", "contains", "unevaluatedItems")
_EVERY_FIELD = ("additionalProperties", "unevaluatedProperties")
_REFERENCES = ("$ref", "$dynamicRef")
_MARKS = {"$anchor": "#", "$dynamicAnchor": "#", "$id": ""}


def work(schema: Any, instance: Any) -> int:
    """How often some subschema is applied to some part of the instance, `MAX_WORK + 1` at most.

    Counted as if no keyword ended early, so it is an upper bound. A reference that leads back to itself on
    the same value counts without end.
    """
    targets = _targets(schema)
    stack = [(schema, instance)]
    count = 0
    while stack and count <= MAX_WORK:
        rule, value = stack.pop()
        count += 1
        if isinstance(rule, dict):
            stack.extend(_same_value(rule, value, targets))
            if isinstance(value, dict):
                stack.extend(_fields(rule, value))
            elif isinstance(value, list):
                stack.extend(_items(rule, value))
    return count


def _same_value(rule: dict[str, Any], value: Any, targets: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for keyword in _ALSO:
        for below in rule.get(keyword, ()):
            yield below, value
    for keyword in _ALSO_ONE:
        if keyword in rule:
            yield rule[keyword], value
    for keyword in _REFERENCES:
        if keyword in rule:
            yield _target(rule[keyword], targets), value
    for below in rule.get("dependentSchemas", {}).values():
        yield below, value


def _fields(rule: dict[str, Any], value: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for name, below in rule.get("properties", {}).items():
        if name in value:
            yield below, value[name]
    every = [*rule.get("patternProperties", {}).values(), *(rule[k] for k in _EVERY_FIELD if k in rule)]
    for below in every:
        for item in value.values():
            yield below, item


def _items(rule: dict[str, Any], value: list[Any]) -> Iterator[tuple[Any, Any]]:
    yield from zip(rule.get("prefixItems", ()), value, strict=False)
    for keyword in _EVERY_ITEM:
        if keyword in rule:
            for item in value:
                yield rule[keyword], item


def _targets(schema: Any) -> dict[str, Any]:
    """Every subschema by each text that can refer to it: `#/$defs/a`, `#anchor`, its `$id`."""
    targets: dict[str, Any] = {}
    stack: list[tuple[str, Any]] = [("#", schema)]
    while stack:
        where, rule = stack.pop()
        targets[where] = rule
        if isinstance(rule, dict):
            targets.update((mark + str(rule[key]), rule) for key, mark in _MARKS.items() if key in rule)
            stack.extend((child(where, key), below) for key, below in rule.items())
        elif isinstance(rule, list):
            stack.extend((child(where, at), below) for at, below in enumerate(rule))
    return targets


def _target(reference: Any, targets: dict[str, Any]) -> Any:
    # What is not found is a metaschema: it counts as one step.
    reference = unquote(str(reference))
    base = reference.partition("#")[0]
    return targets.get(base or reference)
