"""Every mode of `loop`, every policy of `parallel`, bodies within bodies, effects in them."""

from random import Random
from typing import Any

from tests.faults.workflows.family import Expected, Family, effect


def _body(*nodes: dict[str, Any], edges: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"nodes": list(nodes), "edges": list(edges)}


def definitions(url: str) -> list[dict[str, Any]]:
    touch = effect(url, "touch", "{{parallel.currentItem}}", at="-{{parallel.index}}")
    odd = effect(url, "odd", 1, at="-{{parallel.index}}", refuse="{{parallel.index % 2 == 1}}")
    even = effect(url, "even", 1, at="-{{parallel.index}}", refuse="{{parallel.index % 2 == 0}}")
    step = effect(url, "stride", "{{loop.index}}", at="-{{loop.index}}")
    deep = effect(url, "deep", "{{parallel.index}}", at="-{{outer.loop.index}}-{{parallel.index}}")
    add = {"id": "add", "type": "set", "values": {"n": "{{var.n + 1}}"}}
    draft = {"id": "draft", "type": "transform", "expression": '{"before": $exists(score) ? score : 0}',
             "input_mapping": {"score": "{{check.score?}}"}}
    check = {"id": "check", "type": "transform", "expression": '{"score": (before ? before : 0) + 1}'}
    inner = {"id": "inner", "type": "parallel", "count": 2, "body": _body(deep), "collect": "{{deep.body.value}}"}
    nodes = [
        {"id": "each", "type": "parallel", "items": "{{inputs.items}}", "max_concurrency": 2,
         "collect": "{{touch.body.value}}", "body": _body(touch)},
        {"id": "tolerant", "type": "parallel", "count": 4, "tolerate_failures": 2, "body": _body(odd)},
        {"id": "collecting", "type": "parallel", "count": 3, "on_error": "collect", "body": _body(even)},
        {"id": "strict", "type": "parallel", "count": "{{inputs.branches}}", "on_error": "fail_fast",
         "body": _body({"id": "square", "type": "transform", "expression": "index * index"})},
        {"id": "steps", "type": "loop", "mode": "for", "count": 3, "body": _body(step),
         "collect": "{{stride.body.value}}"},
        {"id": "twice", "type": "loop", "mode": "for_each", "items": "{{inputs.items}}",
         "body": _body({"id": "double", "type": "transform", "expression": "item * 2"})},
        {"id": "counting", "type": "loop", "mode": "while", "condition": "var.n < 4", "max_iterations": 10,
         "body": _body(add)},
        {"id": "trying", "type": "loop", "mode": "do_while", "condition": "check.score < 3", "max_iterations": 9,
         "body": _body(draft, check, edges=("draft >> check",))},
        {"id": "outer", "type": "loop", "mode": "for", "count": 2, "body": _body(inner)},
        {"id": "end", "type": "noop"},
    ]
    edges = [
        "each >> steps >> end",
        "tolerant >> twice >> end",
        "collecting >> counting >> end",
        "strict >> trying >> outer >> end",
    ]
    outputs = {
        "each": "{{each.results}}",
        "tolerated": "{{tolerant.failed}}",
        "collected": "{{collecting.failed}}",
        "squares": "{{strict.results}}",
        "steps": "{{steps.results}}",
        "twice": "{{twice.results}}",
        "counted": "{{var.n}}",
        "tried": "{{trying.results}}",
        "outer": "{{outer.results}}",
    }
    return [{"name": "bodies", "nodes": nodes, "edges": edges, "outputs": outputs, "variables": {"n": 1}}]


def inputs(random: Random, number: int) -> dict[str, Any]:
    items = [random.randint(1, 99) for _ in range(random.randint(0, 4))]
    return {"items": items, "branches": random.randint(0, 5)}


def expected(given: dict[str, Any]) -> Expected:
    rounds = {"results": [0, 1], "count": 2, "failed": 0}
    return Expected(
        outputs={
            "each": given["items"],
            "tolerated": 2,
            "collected": 2,
            "squares": [index * index for index in range(given["branches"])],
            "steps": [0, 1, 2],
            "twice": [2 * item for item in given["items"]],
            "counted": 4,
            "tried": [{"score": 1}, {"score": 2}, {"score": 3}],
            "outer": [rounds, rounds],
        }
    )


BODIES = Family(workflow="bodies", definitions=definitions, inputs=inputs, expected=expected)
