"""Conditions and value expressions in CEL: checked at write time, compiled once, evaluated within bounds.

Source: spec "definition", Values; spec "dependencies" §3; CEL language definition.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from models.errors import OrchestratorError
from orchestrator.core.condition_bounds import measure, refusal
from orchestrator.core.condition_names import Names, Use, read
from orchestrator.core.condition_results import plain

MAX_LENGTH = 4096

_AT = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_NUMERIC = re.compile(
    r"found no matching overload for '(?:_(?:<|<=|>|>=|==|!=)_|@in)' applied to "
    r"'\((?:list\()?(?:int|uint|double)\)?, (?:list\()?(?:int|uint|double)\)?\)'"
)
_ABSENT = re.compile(
    r'Key not found in map : (?P<key>.*)$|No value with name "\w+"|Index error: index=(?P<index>-?\d+)'
    r"|Applying SELECT to non-message"
)


class ConditionError(OrchestratorError):
    """An expression does not compile or gives no value.

    `code` is UNRESOLVED_REFERENCE when something that it names does not exist, else VALIDATION: both are
    classes of a step's error.
    """

    code = "VALIDATION"

    def __init__(self, message: str, *, unresolved: bool = False) -> None:
        super().__init__(message)
        if unresolved:
            self.code = "UNRESOLVED_REFERENCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    source: str
    compiled: cel.Expression
    names: Names


def check(expression: str, names: Collection[str], *, boolean: bool = False) -> list[str]:
    """What is wrong with an expression over these root names, a sentence each; empty when it is right.

    `boolean` also refuses an expression that can never be true or false.
    """
    too_long = _too_long(expression)
    if too_long is not None:
        return [too_long]
    problems = [
        f"column {use.at + 1}: {use.root!r} is not known here; known are {_some(names)}"
        for use in _firsts(read(expression).uses)
        if use.root not in names
    ]
    try:
        program = _compile(expression)
    except ConditionError as error:
        return [*problems, str(error)]
    kind = program.compiled.return_type()
    if boolean and kind not in (cel.Type.BOOL, cel.Type.DYN):
        problems.append(f"it gives {kind.name().lower()}, never true or false; compare it with something")
    return problems


def roots(expression: str) -> set[str]:
    """The root names that an expression uses; variables of `all`, `exists`, `map` and `filter` are none."""
    return {use.root for use in read(expression).uses}


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """The value of an expression, as plain JSON data.

    `names` maps root names to JSON values; only those that the expression uses are read. A root that is
    absent is an error, but for `has(root.field)`, which is then false. Timestamps come as RFC 3339, durations
    as seconds.
    Raises ConditionError.
    """
    program = _compile(expression)
    data = {
        alias: _pick(names[root], program.names.fields[root]) if root in names else {}
        for root, alias in program.names.aliases.items()
        if root in names or root not in program.names.whole
    }
    too_much = refusal(program.names, measure(data.values()))
    if too_much is not None:
        raise ConditionError(f"{_shown(expression)}: {too_much}")
    try:
        return plain(program.compiled.eval(data=data))
    except (RuntimeError, TypeError, ValueError) as error:
        raise _explained(program, str(error), names) from error


def _firsts(uses: Iterable[Use]) -> Iterable[Use]:
    first: dict[str, Use] = {}
    for use in uses:
        first.setdefault(use.root, use)
    return first.values()


def _too_long(expression: str) -> str | None:
    if len(expression) > MAX_LENGTH:
        return f"the expression has {len(expression):,} characters; {MAX_LENGTH:,} are allowed"
    return None


@lru_cache(maxsize=2048)
def _compile(expression: str) -> _Program:
    too_long = _too_long(expression)
    if too_long is not None:
        raise ConditionError(too_long)
    names = read(expression)
    env = _environment(frozenset(names.aliases.values()))
    try:
        compiled = _compile_text(env, names.text)
    except (RuntimeError, TypeError) as error:
        raise ConditionError(_compile_message(str(error), names)) from error
    return _Program(source=expression, compiled=compiled, names=names)


def _compile_text(env: cel.Env, text: str) -> cel.Expression:
    try:
        return env.compile(text)
    except RuntimeError as error:
        found = [problem for _, _, problem in _AT.findall(str(error))]
        if not found or not all(_NUMERIC.match(problem) for problem in found):
            raise
    # Comparing an int with a double is refused between literals only; evaluation compares them as numbers.
    return env.compile(text, disable_check=True)


@lru_cache(maxsize=512)
def _environment(variables: frozenset[str]) -> cel.Env:
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN))


def _compile_message(text: str, names: Names) -> str:
    if "recursion" in text:
        return "the expression is nested too deeply: 32 levels are allowed; split it over several nodes"
    found = _AT.findall(text)
    if not found:
        return "the expression is no valid CEL text"
    originals = {alias: root for root, alias in names.aliases.items()}
    return "; ".join(f"column {column}: {_renamed(problem, originals)}" for _, column, problem in found)


def _renamed(text: str, originals: Mapping[str, str]) -> str:
    text = re.sub(r" \(in container '.*?'\)| expecting \{.*", "", text)
    return re.sub(r"\w+", lambda word: originals.get(word.group(), word.group()), text)


def _pick(value: Any, fields: dict[str, Any] | None) -> Any:
    # The evaluator converts every value that it is given, so it is given no more than the expression takes.
    if fields is None or type(value) is not dict:
        return value
    return {name: _pick(value[name], below) for name, below in fields.items() if name in value}


def _explained(program: _Program, text: str, names: Mapping[str, Any]) -> ConditionError:
    shown = _shown(program.source)
    absent = _ABSENT.search(text)
    if absent is not None:
        return ConditionError(f"{shown}: {_missing(program.names, absent, names)}", unresolved=True)
    if "Iteration budget" in text:
        return ConditionError(f"{shown}: it goes through more than 10,000 items; use a transform node")
    text = _renamed(_STATUS.sub("", text), {alias: root for root, alias in program.names.aliases.items()})
    if "No matching overloads" in text:
        text += "; make the types equal with double(…), int(…) or string(…)"
    return ConditionError(f"{shown}: {text}")


def _missing(used: Names, absent: re.Match[str], names: Mapping[str, Any]) -> str:
    if absent["index"] is not None:
        return f"there is no item {absent['index']} in the list"
    missing = [place for use in used.uses if (place := _first_missing(use, names)) is not None]
    key = (absent["key"] or "").strip('"')
    named = [place for place in missing if key in place[-1:]] or missing
    if not named:
        return f"there is no key {absent['key']}" if key else "a field is taken from what is no object"
    root = named[0][0]
    if root not in names:
        return f"{root!r} has no value here: it was skipped, did not run yet, or does not exist"
    return f"{'.'.join(named[0])!r} does not exist; ask with has(…) before"


def _first_missing(use: Use, names: Mapping[str, Any]) -> tuple[str, ...] | None:
    if use.root not in names:
        return (use.root, *use.path[:1])
    value = names[use.root]
    for depth, name in enumerate(use.path, start=1):
        if not isinstance(value, dict) or name not in value:
            return (use.root, *use.path[:depth])
        value = value[name]
    return None


def _shown(expression: str) -> str:
    return expression if len(expression) <= 120 else expression[:119] + "…"


def _some(names: Collection[str]) -> str:
    known = sorted(names)
    return ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "") or "none"
