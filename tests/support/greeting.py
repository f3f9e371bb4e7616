"""A workflow that greets, one that fails, and what becomes of those that call them."""

from typing import Any

from tests.support import attempts
from tests.support.calls import call, everything
from tests.support.engine import Engine
from tests.support.probes import probe

GREET: dict[str, Any] = {
    "name": "greet",
    "inputs": {"type": "object", "required": ["who"], "properties": {"who": {"type": "string"}}},
    "outputs": {"text": "hello {{inputs.who}}", "n": "{{work.n}}"},
    "nodes": [probe("work", {"succeed": {"n": 7}, "usage": {"cost_microcents": 40}})],
}


def greeting(**fields: Any) -> dict[str, Any]:
    """A workflow that calls `greet` and goes on with what it said."""
    return {
        "name": "caller",
        "nodes": [call("greet", "greet", inputs={"who": "{{inputs.who}}"}, **fields), probe("after")],
        "edges": ["greet >> after"],
        "outputs": {"said": "{{greet.text}}", "n": "{{greet.n}}"},
    }


def failing(code: str = "TOOL_FAILED") -> dict[str, Any]:
    return {"name": "fails", "nodes": [probe("bad", {"fail": code, "transient": False})]}


def error_of(ours: Engine, run_id: str, path: str) -> dict[str, Any]:
    error: dict[str, Any] = attempts.attempts(ours, run_id, path)[-1].error
    return error


def statuses(ours: Engine) -> set[str]:
    return {run.status for run in everything(ours)}

WAITS: dict[str, Any] = {"name": "waits", "nodes": [probe("w", {"wait": "for ever"}), probe("x")]}

DEEP: list[dict[str, Any]] = [
    {**WAITS, "edges": ["w >> x"]},
    {"name": "middle", "nodes": [call("it", "waits")]},
    {"name": "top", "nodes": [call("m", "middle"), call("n", "waits")]},
]
