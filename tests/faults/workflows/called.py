"""Runs that call runs, with one budget, a concurrency key, and a call that nobody waits for: `subworkflow`."""

from random import Random
from typing import Any

from tests.faults.workflows.family import Expected, Family, effect

ACCOUNTS = 3


def definitions(url: str) -> list[dict[str, Any]]:
    leaf = {
        "name": "leaf",
        "nodes": [
            effect(url, "book", "{{inputs.number}}"),
            {"id": "sum", "type": "transform", "expression": '{"twice": number * 2}',
             "input_mapping": {"number": "{{book.body.value}}"}},
        ],
        "edges": ["book >> sum"],
        "outputs": {"twice": "{{sum.twice}}"},
    }
    call = {"id": "call", "type": "subworkflow", "workflow": "leaf", "inputs": {"number": "{{parallel.currentItem}}"}}
    every = {"id": "every", "type": "parallel", "items": "{{inputs.numbers}}", "collect": "{{call.twice}}",
             "body": {"nodes": [call], "edges": []}}
    middle = {"name": "middle", "nodes": [every], "edges": [], "outputs": {"all": "{{every.results}}"}}
    top = {
        "name": "called",
        "concurrency": {"key": "{{inputs.account}}", "limit": 2, "on_limit": "queue"},
        "budget": {"limit_cents": 100, "on_exceeded": "pause"},
        "nodes": [
            {"id": "middle", "type": "subworkflow", "workflow": "middle", "inputs": {"numbers": "{{inputs.numbers}}"}},
            {"id": "aside", "type": "subworkflow", "workflow": "leaf", "wait": False, "inputs": {"number": 1}},
            {"id": "spent", "type": "probe", "estimated_cost_cents": 1,
             "does": {"succeed": {"paid": True}, "usage": {"cost_microcents": 2_000_000}}},
            {"id": "end", "type": "noop"},
        ],
        "edges": ["[middle, aside] >> spent >> end"],
        "outputs": {"all": "{{middle.all}}", "paid": "{{spent.paid}}"},
    }
    return [leaf, middle, top]


def inputs(random: Random, number: int) -> dict[str, Any]:
    numbers = [random.randint(1, 50) for _ in range(random.randint(1, 3))]
    return {"account": f"account-{number % ACCOUNTS}", "numbers": numbers}


def expected(given: dict[str, Any]) -> Expected:
    return Expected(outputs={"all": [2 * number for number in given["numbers"]], "paid": True})


CALLED = Family(workflow="called", definitions=definitions, inputs=inputs, expected=expected)
