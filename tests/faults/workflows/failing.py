"""Runs that are to fail, and runs that run out of money. What compensates belongs here."""

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
SPENDING = Family(
    workflow="spending",
    definitions=definitions_of_spending,
    inputs=inputs,
    expected=lambda _: Expected(status="aborted", error=("BUDGET_EXCEEDED", None)),
)
