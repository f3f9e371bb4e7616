"""Workflows of a seed: random graphs whose steps also retry, degrade, wait, pause, cost, run out of time."""

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support import graphs
from tests.support.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A definition, how its steps end where nothing but the definition decides, and the workflows that it calls."""

    definition: dict[str, Any]
    reference: Reference
    called: tuple[dict[str, Any], ...] = ()


def draw(random: Random) -> Workflow:
    """At most 12 steps."""
    definition = graphs.draw(random, 12, least=4, name="simulated", degrade=0.15)
    reference = Reference(definition).complete_all()
    called = _call(random, definition) if random.random() < 0.4 else ()
    for node in definition["nodes"]:
        if node["type"] in ("probe", "slow_probe"):
            _vary(random, node)
    if random.random() < 0.25:
        # Retries, losses and what steps say that they used go beyond the estimate.
        nodes = [node for each in (definition, *called) for node in each["nodes"]]
        limit = sum(node.get("estimated_cost_cents", 0) for node in nodes)
        definition["budget"] = {"limit_cents": limit, "on_exceeded": random.choice(("abort", "pause"))}
    if random.random() < 0.1:
        definition["timeout"] = random.choice((3, 10))
    return Workflow(definition=definition, reference=reference, called=called)


def _call(random: Random, definition: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Let other workflows do what some of the steps were to do; they end as those would have."""
    called: list[dict[str, Any]] = []
    for node in definition["nodes"]:
        if (
            node["type"] in ("probe", "slow_probe")
            and "terminal" not in node["does"]
            and random.random() < 0.4
        ):
            name = f"below-{len(called)}"
            last = {"id": "last", "type": "probe", "does": node.pop("does")}
            nodes = [{"id": "first", "type": "probe", "does": {}}, last]
            for each in nodes:
                _vary(random, each)
            called.append({"name": name, "nodes": nodes, "edges": ["first >> last"]})
            node |= {"type": "subworkflow", "workflow": name}
    if called and random.random() < 0.5:
        deeper = {"id": "deeper", "type": "subworkflow", "workflow": called[-1]["name"]}
        called.append({"name": "between", "nodes": [deeper], "edges": []})
        for node in definition["nodes"]:
            if node.get("workflow") == deeper["workflow"]:
                node["workflow"] = "between"
    return tuple(called)


def _vary(random: Random, node: dict[str, Any]) -> None:
    does = node["does"]
    node["estimated_cost_cents"] = random.randint(0, 2)
    if random.random() < 0.3:
        does["usage"] = {"cost_microcents": random.randint(0, 3_000_000)}
    if random.random() < 0.3:
        node["retry"] = {"max_attempts": random.randint(2, 3), "initial": random.choice((0.1, 1, 6))}
        if "succeed" in does and random.random() < 0.5:
            node["does"] = [{"fail": random.choice(("NETWORK", "TOOL_FAILED"))}, does]
    elif "succeed" in does and "terminal" not in does and random.random() < 0.15:
        node["does"] = random.choice(
            ({"wait": "timer", "seconds": random.choice((0.5, 5))}, {"pause": "asked"})
        )
    if random.random() < 0.2:
        node["timeout"] = random.choice((1, 5))
    if "retry" not in node and random.random() < 0.1:
        node["total_timeout"] = random.choice((2, 10))
    if random.random() < 0.2:
        node["side_effects"] = "external"
        none = {"type": "none", "reason": "it cannot be undone"}
        node["compensate"] = random.choice((none, {"type": "probe", "does": {}}, {"type": "noop"}))
        node["idempotency_key"] = f"{{{{run.id}}}}-{node['id']}"
