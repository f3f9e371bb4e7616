"""JSONata over a JSON value, within bounds of time, depth and size.

The library looks at its own bounds between the steps of an evaluation only. What can grow within one step is
bounded here: ranges, padding, joining, replacing, results. What remains is stopped by the caller's deadline.

Source: spec "dependencies" §4; https://docs.jsonata.org.
"""

import copy
import math
import re
import sys
from functools import lru_cache
from typing import Any

from models.errors import OrchestratorError

_RECURSION = sys.getrecursionlimit()
from jsonata import Functions, JException, Jsonata, Parser, Utils  # noqa: E402

# The library raises the limit of the whole process tenfold, which makes a crash of an endless recursion.
sys.setrecursionlimit(_RECURSION)

MAX_LENGTH = 8192
MAX_ITEMS = 1_000_000
MAX_TEXT = 8 << 20
_DEPTH = 200
_TIMED_OUT = "D1012"


class TransformError(OrchestratorError):
    """A transform does not compile or gives no JSON; `code` is VALIDATION, or TIMEOUT when it took too long."""

    def __init__(self, message: str, code: str = "VALIDATION") -> None:
        super().__init__(message)
        self.code = code


def check(expression: str) -> list[str]:
    """What is wrong with an expression, a sentence each; empty when it compiles."""
    try:
        _compile(expression)
    except TransformError as error:
        return [str(error)]
    return []


def evaluate(expression: str, value: Any, seconds: float) -> Any:
    """The expression's result on `value`, which is `$`, as JSON; undefined is null. Raises TransformError."""
    # The library keeps the state of an evaluation on the object: each evaluation has a copy of its own.
    program = copy.copy(_compile(expression))
    try:
        Jsonata.CURRENT.jsonata = program
        return _plain(program.evaluate(value, _frame(program, seconds)))
    except Exception as error:  # the library lets any of Python's errors out
        raise _explained(error) from error


@lru_cache(maxsize=512)
def _compile(expression: str) -> "_Bounded":
    if len(expression) > MAX_LENGTH:
        raise TransformError(f"the expression has {len(expression):,} characters; {MAX_LENGTH:,} are allowed")
    try:
        # A parser that stopped in the middle keeps what it had read: each expression has one of its own.
        Jsonata.PARSER.parser = Parser()
        program = _Bounded(expression)
    except Exception as error:  # as in evaluate
        raise _explained(error) from error
    program.set_validate_input(False)  # inputs are JSON already
    return program


class _Bounded(Jsonata):  # type: ignore[misc]
    def evaluate_range_expression(self, lhs: Any, rhs: Any) -> Any:
        if type(lhs) is int and type(rhs) is int and rhs - lhs >= MAX_ITEMS:
            raise TransformError(f"a range of {rhs - lhs + 1:,} items cannot be done in time", "TIMEOUT")
        return super().evaluate_range_expression(lhs, rhs)


class _Guarded:
    """The library's functions whose result can be far larger than their arguments."""

    @staticmethod
    def pad(string: Any, width: Any, char: Any) -> Any:
        _bound(abs(width) * len(char or " ") if isinstance(width, (int, float)) else 0)
        return Functions.pad(string, width, char)

    @staticmethod
    def join(strs: Any, separator: Any) -> Any:
        if isinstance(strs, list) and isinstance(separator, str):
            _bound(len(strs) * len(separator) + sum(len(text) for text in strs if isinstance(text, str)))
        return Functions.join(strs, separator)

    @staticmethod
    def replace(string: Any, pattern: Any, replacement: Any, limit: Any) -> Any:
        if isinstance(string, str) and isinstance(replacement, str):
            _bound((len(string) + 1) * max(1, len(replacement)))
        return Functions.replace(string, pattern, replacement, limit)

    @staticmethod
    def function_eval(expr: Any, focus: Any) -> Any:  # noqa: ARG004
        raise TransformError("$eval is not available: data is never evaluated")


_GUARDS = {
    name: Jsonata.JNativeFunction(name, signature, _Guarded, method)
    for name, signature, method in (
        ("pad", "<s-ns?:s>", "pad"),
        ("join", "<a<s>s?:s>", "join"),
        ("replace", "<s-(sf)(sf)n?:s>", "replace"),
        ("eval", "<sx?:x>", "function_eval"),
    )
}


def _frame(program: Any, seconds: float) -> Any:
    frame = program.create_frame()
    frame.set_runtime_bounds(max(1, round(seconds * 1000)), _DEPTH)
    for name, function in _GUARDS.items():
        frame.bind(name, function)
    leave = frame.lookup("__evaluate_exit")

    def leave_bounded(expr: Any, given: Any, env: Any, result: Any) -> None:
        leave(expr, given, env, result)
        if isinstance(result, str):
            _bound(len(result))
        elif isinstance(result, list) and not isinstance(result, Utils.RangeList):
            _bound(len(result), MAX_ITEMS)

    frame.set_evaluate_exit_callback(leave_bounded)
    return frame


def _bound(size: float, largest: int = MAX_TEXT) -> None:
    if size > largest:
        raise TransformError(f"a value of more than {largest:,} characters or items would be built")


def _plain(value: Any) -> Any:
    holder: list[Any] = [value]
    stack: list[tuple[Any, Any]] = [(holder, 0)]  # where a value stands that is still to be converted
    while stack:
        target, key = stack.pop()
        item = target[key]
        if isinstance(item, dict):
            target[key] = found = dict(item)
            stack.extend((found, name) for name in found)
        elif isinstance(item, (list, tuple)):
            target[key] = items = list(item)
            stack.extend((items, at) for at in range(len(items)))
        else:
            target[key] = _scalar(item)
    return holder[0]


def _scalar(value: Any) -> Any:
    if value is None or value is Utils.NULL_VALUE:
        return None
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise TransformError(
        "the result holds a function, which is no JSON value; call it"
        if not isinstance(value, float)
        else f"the result holds {value}, which is no JSON number"
    )


def _explained(error: Exception) -> OrchestratorError:
    if isinstance(error, TransformError):
        return error
    if isinstance(error, RecursionError):
        return TransformError("it is nested too deeply, or calls itself without end")
    if not isinstance(error, JException):
        return TransformError(f"{type(error).__name__}: {error}"[:500])
    code = f" ({error.error})" if re.fullmatch(r"[A-Z]\d{4}", error.error) else ""
    message = f"{str(error)[:500]}{code}"
    return TransformError(message, "TIMEOUT" if error.error == _TIMED_OUT else "VALIDATION")
