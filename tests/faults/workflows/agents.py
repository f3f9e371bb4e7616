"""Work by agents of the local gateway, by name, by role, by what they can: `agent`."""

import json
from random import Random
from typing import Any

from tests.faults.workflows.family import RETRY, Expected, Family, effect

# (name, role, capabilities) of those that are registered; `echo` is known to the gateway alone
REGISTERED = (("ada", "writer", ("text",)), ("bob", "writer", ("text", "sums")), ("cyd", "reader", ("sums",)))


def _agent(node_id: str, script: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    task = {"title": node_id, "description": f"@gateway {json.dumps(script)}"}
    return {"id": node_id, "type": "agent", "task": task, "timeout": "20s", "retry": RETRY, **wanted}


def definitions(url: str) -> list[dict[str, Any]]:
    nodes = [
        _agent("slow", {"delay": 0.8, "reply": {"said": "slow"}}, agent="echo"),
        _agent("flaky", {"fail": "model", "times": 1, "reply": {"said": "flaky"}}, role="writer"),
        _agent("able", {"delay": 0.3, "reply": {"said": "able"}}, capabilities=["sums"]),
        _agent("streamed", {"stream": ["one ", "two ", "three"], "pause": 0.3}, role="writer", capabilities=["sums"]),
        {"id": "told", "type": "transform", "expression": '{"n": n}', "input_mapping": {"n": "{{inputs.n}}"}},
        effect(url, "publish", "{{told.n}}"),
        _agent("kept", {"delay": 0.2, "reply": {"said": "kept"}}, agent="dee", session="run"),
    ]
    edges = ["[slow, flaky, able] >> streamed >> told >> publish >> kept"]
    outputs = {
        "slow": "{{slow.output.said}}",
        "flaky": "{{flaky.output.said}}",
        "able": "{{able.output.said}}",
        "streamed": "{{streamed.text}}",
        "n": "{{publish.body.value}}",
        "kept": "{{kept.output.said}}",
    }
    return [{"name": "agents", "nodes": nodes, "edges": edges, "outputs": outputs}]


def inputs(random: Random, number: int) -> dict[str, Any]:
    return {"n": number}


def expected(given: dict[str, Any]) -> Expected:
    said = {name: name for name in ("slow", "flaky", "able", "kept")}
    return Expected(outputs={**said, "streamed": "one two three", "n": given["n"]})


AGENTS = Family(workflow="agents", definitions=definitions, inputs=inputs, expected=expected)
