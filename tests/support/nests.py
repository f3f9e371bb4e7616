"""Random workflows with loops and parallels within each other: every mode, policy and window, retries, flaky steps."""

from random import Random
from typing import Any

from tests.support import graphs

_MODES = ("for", "for_each", "while", "do_while")
# What an expression of a body gives at a position; of the others `graphs.TRUTH` says it.
BY_PLACE = {f"index == {place}": place for place in range(3)}


def draw(random: Random, *, depth: int = 2, most: int = 5) -> dict[str, Any]:
    """A definition whose bodies are nested up to `depth` deep; `random` decides all, so that Hypothesis can shrink."""
    definition = graphs.draw(random, most, name="random")
    flaky = definition["on_failure"] == "continue"
    definition["nodes"] = [_maybe(random, node, depth, flaky=flaky) for node in definition["nodes"]]
    if all("body" not in node for node in definition["nodes"]):
        definition["nodes"].append(_container(random, {"id": "extra"}, depth, flaky=flaky))
    return definition


def _maybe(random: Random, node: dict[str, Any], depth: int, *, flaky: bool) -> dict[str, Any]:
    """A node as it is, or a container in its place, or a probe that fails at first."""
    if node["type"] not in ("probe", "slow_probe"):
        return node
    if depth > 0 and random.random() < 0.4:
        kept = {key: node[key] for key in ("id", "when", "join", "error_port") if key in node}
        return _container(random, kept, depth, flaky=flaky)
    if flaky and random.random() < 0.2:
        retry = {"retry": {"max_attempts": 2, "initial": "1ms"}} if random.random() < 0.3 else {}
        return {**node, "does": [{"fail": "TOOL_FAILED"}, {"succeed": {"late": node["id"]}}], **retry}
    return node


def _container(random: Random, kept: dict[str, Any], depth: int, *, flaky: bool) -> dict[str, Any]:
    loop = random.random() < 0.5
    own = _loop(random) if loop else _parallel(random)
    container = {
        **kept,
        "type": "loop" if loop else "parallel",
        **own,
        "body": _body(random, depth - 1, flaky=flaky),
    }
    if random.random() < 0.4:
        container["retry"] = {"max_attempts": random.randint(2, 3), "initial": "1ms"}
    if random.random() < 0.3 or not _plain(container["body"]):
        container["collect"] = {"at": "{{index}}"}
    return container


def _loop(random: Random) -> dict[str, Any]:
    mode = random.choice(_MODES)
    if mode in ("for", "for_each"):
        return {"mode": mode, **_times(random, items=mode == "for_each")}
    if mode == "while":
        return {
            "mode": mode,
            "condition": random.choice(("inputs.no", "inputs.yes", "inputs.absent")),
            "max_iterations": 2,
        }
    return {
        "mode": mode,
        "condition": random.choice((*BY_PLACE, "inputs.no", "inputs.yes")),
        "max_iterations": 3,
    }


def _parallel(random: Random) -> dict[str, Any]:
    own = _times(random, items=random.random() < 0.5)
    if random.random() < 0.5:
        own["max_concurrency"] = random.randint(1, 2)
    policy = random.choice(
        (
            {},
            {"on_error": "fail_fast"},
            {"on_error": "collect"},
            {"tolerate_failures": 1},
            {"tolerate_failures": "50%"},
        )
    )
    return own | policy


def _times(random: Random, *, items: bool) -> dict[str, Any]:
    count = random.choice((0, 1, 2, 2, 3))
    return {"items": [f"item {place}" for place in range(count)]} if items else {"count": count}


def _body(random: Random, depth: int, *, flaky: bool) -> dict[str, Any]:
    drawn = graphs.draw(random, 4)
    nodes = [_maybe(random, node, depth, flaky=flaky) for node in drawn["nodes"]]
    for node in nodes:
        if random.random() < 0.15:
            node["when"] = random.choice(sorted(BY_PLACE))
    return {"nodes": nodes, "edges": drawn["edges"]}


def _plain(body: dict[str, Any]) -> bool:
    """Whether what the body gives by default can be told without knowing what its nodes are given."""
    return all(node["type"] in ("probe", "slow_probe", "loop", "parallel") for node in ends(body))


def ends(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes without an out-edge of a handle other than error."""
    leading = {edge["from"] for edge in body["edges"] if edge["handle"] != "error"}
    return [node for node in body["nodes"] if node["id"] not in leading]
