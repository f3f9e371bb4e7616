"""`{{ … }}` in the strings of a definition: resolved once at dispatch, listed at write time.

A literal `{{` is written as the expression `{{'{{'}}`.

Source: spec "definition", Values.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import OrchestratorError
from orchestrator.core import conditions
from orchestrator.core.pointer import child
from orchestrator.core.templates import Expression, Part, Path, parse

MISSING = object()
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class UnresolvedReferenceError(OrchestratorError):
    """A reference names what does not exist; write `?` behind the path where null will do."""

    code = "UNRESOLVED_REFERENCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One `{{ … }}` of a definition.

    text: what stands between the braces. pointer: JSON pointer of the string that holds it.
    is_path: `root.path`, its `root`, `path` and `optional` are set; else a CEL expression, to be asked of
    `conditions.check` and `conditions.roots`.
    """

    text: str
    root: str
    path: tuple[str | int, ...]
    optional: bool
    pointer: str
    is_path: bool


def resolve(value: Any, names: Mapping[str, Any]) -> Any:
    """A copy of `value` with every `{{ … }}` in its strings replaced; keys are left as they are.

    A string that is one reference takes the JSON value itself; inside longer text strings stand as they are
    and everything else as JSON. What was put in is not looked at again. `names` maps root names to values.
    Raises UnresolvedReferenceError naming the reference, ConditionError for a failing expression.
    """
    if isinstance(value, str):
        return _text(value, names)
    if not isinstance(value, (dict, list)):
        return value
    result = _shell(value)
    stack = [(value, result)]
    while stack:
        source, target = stack.pop()
        for key, item in source.items() if isinstance(source, dict) else enumerate(source):
            if isinstance(item, str):
                target[key] = _text(item, names)
            elif isinstance(item, (dict, list)):
                target[key] = _shell(item)
                stack.append((item, target[key]))
            else:
                target[key] = item
    return result


def references(value: Any, pointer: str = "") -> list[Reference]:
    """Every reference in the strings of `value`, in the document's order; `value` stands at `pointer`."""
    return [
        _described(part, where)
        for where, text in _strings(value, pointer)
        for part in parse(text)
        if not isinstance(part, str)
    ]


def _shell(value: dict[str, Any] | list[Any]) -> Any:
    return dict.fromkeys(value) if isinstance(value, dict) else [None] * len(value)


def _text(text: str, names: Mapping[str, Any]) -> Any:
    if "{{" not in text:
        return text
    parts = parse(text)
    if len(parts) == 1:
        return parts[0] if isinstance(parts[0], str) else _value(parts[0], names)
    return "".join(_written(part, names) for part in parts)


def _written(part: Part, names: Mapping[str, Any]) -> str:
    value = part if isinstance(part, str) else _value(part, names)
    return value if isinstance(value, str) else _ENCODE(value)


def _value(part: Path | Expression, names: Mapping[str, Any]) -> Any:
    if isinstance(part, Path):
        return _follow(part, names)
    try:
        return conditions.evaluate(part.text, names)
    except conditions.ConditionError as error:
        if error.code != UnresolvedReferenceError.code:
            raise
        raise UnresolvedReferenceError(f"{{{{{part.text}}}}}: {error}") from error


def _follow(path: Path, names: Mapping[str, Any]) -> Any:
    value = names.get(path.root, MISSING)
    for done, step in enumerate(path.steps):
        below = _step(value, step)
        if below is MISSING:
            return _absent(path, value, done, names)
        value = below
    return _absent(path, names, -1, names) if value is MISSING else value


def _step(value: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return value.get(step, MISSING) if isinstance(value, dict) else MISSING
    return value[step] if isinstance(value, list) and step < len(value) else MISSING


def _absent(path: Path, value: Any, done: int, names: Mapping[str, Any]) -> None:
    if path.optional:
        return
    shown = f"{{{{{path.text}}}}}"
    if value is MISSING or done < 0:
        raise UnresolvedReferenceError(
            f"{shown}: {path.root!r} has no value here: it was skipped, did not run yet, or does not exist; "
            f"there are {_some(names)}"
        )
    raise UnresolvedReferenceError(f"{shown}: {_place(path, done)} {_why(value, path.steps[done])}")


def _place(path: Path, done: int) -> str:
    steps = (f".{step}" if isinstance(step, str) else f"[{step}]" for step in path.steps[:done])
    return path.root + "".join(steps)


def _why(value: Any, step: str | int) -> str:
    if isinstance(value, dict):
        return f"has no {step!r}; it has {_some(value)}"
    if isinstance(value, list):
        return f"is a list of {len(value)} items, without {step!r}"
    kind = "null" if value is None else type(value).__name__
    return f"is no object or list but {kind}, and has no {step!r}"


def _some(names: Mapping[str, Any]) -> str:
    known = sorted(map(str, names))
    return (", ".join(known[:10]) or "nothing") + (f" and {len(known) - 10} more" if len(known) > 10 else "")


def _strings(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    stack: list[tuple[str, Any]] = [(pointer, value)]
    while stack:
        where, item = stack.pop()
        if isinstance(item, str):
            yield where, item
        elif isinstance(item, dict):
            stack.extend((child(where, key), below) for key, below in reversed(item.items()))
        elif isinstance(item, (list, tuple)):
            stack.extend((child(where, at), item[at]) for at in reversed(range(len(item))))


def _described(part: Path | Expression, pointer: str) -> Reference:
    if isinstance(part, Path):
        return Reference(
            text=part.text,
            root=part.root,
            path=part.steps,
            optional=part.optional,
            pointer=pointer,
            is_path=True,
        )
    return Reference(text=part.text, root="", path=(), optional=False, pointer=pointer, is_path=False)
