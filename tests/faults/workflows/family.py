"""What a family of workflows is: definitions, inputs by chance, and what a run with them comes to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

# Outages of some seconds are no reason for a failure; what the world refuses for good is.
RETRY = {"max_attempts": 30, "initial": "300ms", "max": "2s", "policy": "on_transient_error"}
TIMEOUT = "12s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How a run ends: `error` is its code and step where it does not succeed."""

    status: str = "success"
    outputs: dict[str, Any] = field(default_factory=dict)
    error: tuple[str, str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`definitions(url)` are to be published in order, effects go to the server at `url`; runs are of `workflow`."""

    workflow: str
    definitions: Callable[[str], list[dict[str, Any]]]
    inputs: Callable[[Random, int], dict[str, Any]]
    expected: Callable[[dict[str, Any]], Expected]


def effect(url: str, node_id: str, value: Any, *, at: str = "", **fields: Any) -> dict[str, Any]:
    """An `http` node with an effect at a place of its own; in a body `at` tells the branches apart.

    fail: how often the server answers 503 first. refuse: it answers 422.
    """
    body = {"value": value} | {name: fields.pop(name) for name in ("fail", "refuse") if name in fields}
    return {
        "id": node_id,
        "type": "http",
        "method": "POST",
        "url": f"{url}/{{{{run.id}}}}/{node_id}{at}",
        "json": body,
        "timeout": TIMEOUT,
        "retry": RETRY,
        **fields,
    }
