"""Runs that are to fail, runs that undo what they have done, and runs that run out of money."""

from random import Random
from typing import Any

from tests.faults.workflows.family import Expected, Family, effect


def definitions_of_failing(url: str) -> list[dict[str, Any]]:
    nodes = [
        effect(url, "book", 1),
        effect(url, "beside", 2),
        effect(url, "pay", 3, refuse=True),
        effect(url, "never", 4),
    ]
    edges = ["book >> pay >> never", "book >> beside"]
    return [{"name": "failing", "on_failure": "continue", "nodes": nodes, "edges": edges}]


def undone(url: str, node_id: str, value: Any, *, at: str = "") -> dict[str, Any]:
    """An effect, and another one that undoes it."""
    undoing = effect(url, f"undo-{node_id}", value, at=at)
    del undoing["id"]
    return effect(url, node_id, value, at=at, compensate=undoing)


def definitions_of_undone(url: str) -> list[dict[str, Any]]:
    rooms = {
        "id": "rooms",
        "type": "parallel",
        "items": ["north", "south", "east"],
        "max_concurrency": 2,
        "body": {"nodes": [undone(url, "room", "{{item}}", at="-{{index}}")], "edges": []},
    }
    below = [undone(url, "seat", 1), effect(url, "told", 1)]
    nodes = [
        undone(url, "book", 1),
        rooms,
        {"id": "flight", "type": "subworkflow", "workflow": "flight"},
        effect(url, "pay", 3, refuse=True),
    ]
    return [
        {"name": "flight", "nodes": below, "edges": ["seat >> told"]},
        {"name": "undone", "nodes": nodes, "edges": ["book >> [rooms, flight] >> pay"]},
    ]


def definitions_of_spending(url: str) -> list[dict[str, Any]]:
    dear = {"type": "probe", "estimated_cost_cents": 1, "does": {"sleep": 0.2, "usage": {"cost_microcents": 9_000_000}}}
    nodes = [
        {"id": "dear", **dear},
        {"id": "dearer", **dear},
        effect(url, "never", 1),
    ]
    budget = {"limit_cents": 5, "on_exceeded": "abort"}
    return [{"name": "spending", "nodes": nodes, "edges": ["dear >> dearer >> never"], "budget": budget}]


def inputs(random: Random, number: int) -> dict[str, Any]:
    return {"n": number}


FAILING = Family(
    workflow="failing",
    definitions=definitions_of_failing,
    inputs=inputs,
    expected=lambda _: Expected(status="failed", error=("TOOL_FAILED", "pay")),
)
UNDONE = Family(
    workflow="undone",
    definitions=definitions_of_undone,
    inputs=inputs,
    expected=lambda _: Expected(status="compensated", error=("TOOL_FAILED", "pay")),
)
SPENDING = Family(
    workflow="spending",
    definitions=definitions_of_spending,
    inputs=inputs,
    expected=lambda _: Expected(status="aborted", error=("BUDGET_EXCEEDED", None)),
)
