"""Random workflows of known outcome: every edge handle and join, conditions, error ports, both ways to fail."""

from random import Random
from typing import Any

INPUTS = {"yes": True, "no": False}
# What an expression gives with INPUTS; None = it cannot be evaluated.
TRUTH: dict[str, bool | None] = {
    "true": True,
    "false": False,
    "inputs.yes": True,
    "inputs.no": False,
    "inputs.absent": None,
}
_PLAIN = ("true", "false", "inputs.yes", "inputs.no")
_FAILURES = ("TOOL_FAILED", "VALIDATION", "NETWORK")


def draw(
    random: Random, most: int = 12, *, least: int = 1, name: str = "random", degrade: float = 0.0
) -> dict[str, Any]:
    """A definition of `least` to `most` nodes; `random` decides all, so that Hypothesis can shrink it.

    degrade: the share of nodes that have one.
    """
    count = random.randint(least, most)
    nodes = [_node(random, no) for no in range(count)]
    edges: list[dict[str, Any]] = []
    for target in range(1, count):
        sources = random.sample(range(target), min(target, random.choice((0, 1, 1, 1, 2, 2, 3))))
        for source in sorted(sources):
            edges += _edges(random, nodes[source], nodes[target])
    for node in nodes:
        _keep_else_alive(node, [edge for edge in edges if edge["from"] == node["id"]])
    for node in nodes:
        if random.random() < degrade:
            node["degrade"] = {"value": {node["id"]: "degraded"}}
    random.shuffle(edges)
    for node in nodes:
        into = sum(edge["to"] == node["id"] for edge in edges)
        _join(random, node, into)
    return {
        "name": name,
        "on_failure": random.choice(("continue", "continue", "fail_fast")),
        "nodes": nodes,
        "edges": edges,
    }


def _node(random: Random, no: int) -> dict[str, Any]:
    kind = random.choice(("probe", "probe", "probe", "slow_probe", "noop", "set", "emit", "condition", "router"))
    node: dict[str, Any] = {"id": f"n{no}", "type": kind}
    if kind in ("probe", "slow_probe"):
        node["does"] = _does(random, no)
    elif kind == "set":
        node["values"] = {f"v{no}": no, "last": f"n{no}"}
    elif kind == "emit":
        node |= {"event": f"drawn.n{no}", "data": {"n": no}}
    elif kind == "condition":
        node["expression"] = _expression(random)
    elif kind == "router":
        node["cases"] = [{"route": route, "when": _expression(random)} for route in ("hot", "cold")]
        if random.random() < 0.7:
            node["default"] = "rest"
    if random.random() < 0.15:
        node["when"] = _expression(random)
    if random.random() < 0.1:
        node["error_port"] = True
    return node


def _does(random: Random, no: int) -> dict[str, Any]:
    if random.random() < 0.25:
        return {"fail": random.choice(_FAILURES)}
    if random.random() < 0.1:
        return {"succeed": {"n": no}, "terminal": True}
    return {"succeed": random.choice(({"n": no, f"of{no}": [no]}, no, "text", None, [no]))}


def _expression(random: Random) -> str:
    return "inputs.absent" if random.random() < 0.05 else random.choice(_PLAIN)


def _edges(random: Random, source: dict[str, Any], target: dict[str, Any]) -> list[dict[str, Any]]:
    """One edge, or two of different handles."""
    handles = ["source", "source", "source", "error", "condition", "else"]
    if source["type"] in ("condition", "router"):
        handles += ["router"] * 4
    chosen = {random.choice(handles)} | ({random.choice(handles)} if random.random() < 0.1 else set())
    return [_edge(random, source, target, handle) for handle in sorted(chosen)]


def _edge(random: Random, source: dict[str, Any], target: dict[str, Any], handle: str) -> dict[str, Any]:
    edge: dict[str, Any] = {"from": source["id"], "to": target["id"], "handle": handle}
    if handle == "condition":
        edge["when"] = _expression(random)
    elif handle == "router":
        edge["route"] = random.choice(_routes(source))
    return edge


def _keep_else_alive(node: dict[str, Any], out: list[dict[str, Any]]) -> None:
    """Where every route has an edge an `else` could never live, and would be refused."""
    taken = {edge["route"] for edge in out if edge["handle"] == "router"}
    for edge in out:
        if edge["handle"] == "else" and taken >= set(_routes(node)) != set():
            edge["handle"] = "source"
            if any(other is not edge and _same(other, edge) for other in out):
                edge["handle"] = "error"


def _routes(node: dict[str, Any]) -> tuple[str, ...]:
    if node["type"] == "condition":
        return ("true", "false")
    if node["type"] == "router":
        return ("hot", "cold", *((node["default"],) if "default" in node else ()))
    return ()


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["to"] == other["to"] and one["handle"] == other["handle"]


def _join(random: Random, node: dict[str, Any], into: int) -> None:
    if into > 1 and random.random() < 0.5:
        node["join"] = random.choice(("any", "all", {"at_least": random.randint(1, into)}))
