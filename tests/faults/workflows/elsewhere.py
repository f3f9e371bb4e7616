"""Tasks of another Celery application, and node types of a plug-in: `celery probe slow_probe nothing`."""

from random import Random
from typing import Any

from tests.faults.workflows.family import RETRY, Expected, Family

QUEUE = "elsewhere"


def definitions(url: str) -> list[dict[str, Any]]:
    asked = {"type": "celery", "queue": QUEUE, "timeout": "8s"}
    final = {**RETRY, "condition": "error.code != 'TOOL_FAILED' || error.details[\"class\"] != 'LookupError'"}
    nodes = [
        {"id": "double", "task": "elsewhere.double", "args": ["{{inputs.n}}"], "retry": RETRY, **asked},
        {"id": "refused", "task": "elsewhere.refuse", "retry": final, **asked},
        {"id": "why", "type": "set", "values": {"why": "{{refused.error.details.class}}"}},
        {"id": "nothing", "type": "nothing"},
        {"id": "left", "type": "slow_probe", "does": {"sleep": 0.5, "succeed": {"left": 1}}},
        {"id": "right", "type": "slow_probe", "does": {"sleep": 1.0, "succeed": {"right": 2}}},
        {"id": "both", "type": "probe", "does": {"sleep": 0.3}},
        {"id": "flaky", "type": "probe", "retry": RETRY,
         "does": [{"fail": "NETWORK"}, {"fail": "TIMEOUT"}, {"sleep": 0.2, "succeed": {"flaky": "well"}}]},
        {"id": "end", "type": "noop"},
    ]
    edges = [
        "nothing >> double >> flaky >> end",
        "refused >> end",
        {"from": "refused", "to": "why", "handle": "error"},
        "why >> end",
        "[left, right] >> both >> end",
    ]
    outputs = {
        "doubled": "{{double.doubled}}",
        "why": "{{var.why}}",
        "left": "{{both.left}}",
        "right": "{{both.right}}",
        "flaky": "{{flaky.flaky}}",
    }
    return [{"name": "elsewhere", "nodes": nodes, "edges": edges, "outputs": outputs, "variables": {"why": None}}]


def inputs(random: Random, number: int) -> dict[str, Any]:
    return {"n": random.randint(1, 1000)}


def expected(given: dict[str, Any]) -> Expected:
    found = {"doubled": 2 * given["n"], "why": "LookupError", "left": 1, "right": 2, "flaky": "well"}
    return Expected(outputs=found)


ELSEWHERE = Family(workflow="elsewhere", definitions=definitions, inputs=inputs, expected=expected)
