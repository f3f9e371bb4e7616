"""Waves of effects, joins of each kind, choices, errors: `http transform condition router set noop`."""

from random import Random
from typing import Any

from tests.faults.workflows.family import Expected, Family, effect


def definitions(url: str) -> list[dict[str, Any]]:
    nodes = [
        {"id": "plan", "type": "transform", "expression": '{"total": $sum(items), "most": $max(items)}'},
        effect(url, "reserve", "{{plan.total}}"),
        effect(url, "stock", "{{plan.most}}", fail=1),
        effect(url, "credit", 1),
        {"id": "all_there", "type": "noop"},
        {"id": "large", "type": "condition", "expression": "plan.total > 20"},
        {"id": "mark_large", "type": "set", "values": {"size": "large"}},
        {"id": "mark_small", "type": "set", "values": {"size": "small"}},
        {
            "id": "way",
            "type": "router",
            "cases": [{"route": "air", "when": "inputs.express"}],
            "default": "road",
        },
        effect(url, "air", "air"),
        effect(url, "road", "road"),
        effect(url, "charge", 1, refuse=True),
        {"id": "sorry", "type": "set", "values": {"why": "{{charge.error.code}}"}},
        effect(url, "scan", 1, refuse=True, fallback="by_hand"),
        {"id": "by_hand", "type": "transform", "expression": '{"scanned": "by hand"}'},
        effect(url, "left", 1),
        effect(url, "right", 1),
        {"id": "first", "type": "transform", "join": "any", "expression": '{"came": true}'},
        effect(url, "note", 1),
        {"id": "quorum", "type": "transform", "join": {"at_least": 2}, "expression": '{"met": true}'},
        {"id": "done", "type": "emit", "event": "order.done", "data": {"total": "{{plan.total}}"}},
    ]
    edges = [
        "plan >> [reserve, stock, credit] >> all_there >> large",
        {"from": "large", "to": "mark_large", "route": True},
        {"from": "large", "to": "mark_small", "route": False},
        "[mark_large, mark_small] >> way",
        {"from": "way", "to": "air", "route": "air"},
        {"from": "way", "to": "road", "route": "road"},
        "[air, road] >> charge",
        {"from": "charge", "to": "sorry", "handle": "error"},
        "all_there >> scan",
        "all_there >> [left, right] >> first >> note",
        "[left, right, note] >> quorum",
        "[sorry, by_hand, quorum] >> done",
    ]
    outputs = {
        "total": "{{plan.total}}",
        "stock": "{{stock.body.value}}",
        "size": "{{var.size}}",
        "air": "{{air.body.value?}}",
        "road": "{{road.body.value?}}",
        "why": "{{var.why}}",
        "scanned": "{{by_hand.scanned}}",
        "came": "{{first.came}}",
        "met": "{{quorum.met}}",
    }
    unset = {"size": None, "why": None}
    return [{"name": "order", "nodes": nodes, "edges": edges, "outputs": outputs, "variables": unset}]


def inputs(random: Random, number: int) -> dict[str, Any]:
    return {
        "items": [random.randint(1, 12) for _ in range(random.randint(1, 5))],
        "express": random.random() < 0.5,
    }


def expected(given: dict[str, Any]) -> Expected:
    total = sum(given["items"])
    return Expected(
        outputs={
            "total": total,
            "stock": max(given["items"]),
            "size": "large" if total > 20 else "small",
            "air": "air" if given["express"] else None,
            "road": None if given["express"] else "road",
            "why": "TOOL_FAILED",
            "scanned": "by hand",
            "came": True,
            "met": True,
        }
    )


ORDERS = Family(workflow="order", definitions=definitions, inputs=inputs, expected=expected)
