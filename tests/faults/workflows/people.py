"""What waits for people and for time: `approval signal pause wait`. tests/faults/office.py gives the answers."""

from random import Random
from typing import Any

from tests.faults.workflows.family import Expected, Family, effect

SIGNAL = "signed"


def definitions(url: str) -> list[dict[str, Any]]:
    form = {"type": "object", "required": ["cents"], "properties": {"cents": {"type": "integer"}}}
    wanted = {"type": "object", "required": ["go"], "properties": {"go": {"type": "boolean"}}}
    nodes = [
        effect(url, "ask", 1),
        {"id": "pay", "type": "approval", "title": "approve", "form": form, "assignees": ["ada", "bob"], "required": 2},
        {"id": "refused", "type": "approval", "title": "reject"},
        {"id": "instead", "type": "set", "values": {"why": "{{refused.error.code}}"}},
        {"id": "sign", "type": "signal", "signal": SIGNAL, "key": "{{inputs.envelope}}"},
        {"id": "moment", "type": "wait", "duration": "1500ms"},
        {"id": "together", "type": "noop"},
        {"id": "hold", "type": "pause", "expected_input": wanted},
        effect(url, "after", "{{hold.go}}"),
    ]
    edges = [
        "ask >> [pay, refused, sign, moment]",
        {"from": "refused", "to": "instead", "handle": "error"},
        "[pay, instead, sign, moment] >> together >> hold >> after",
    ]
    outputs = {
        "decision": "{{pay.decision}}",
        "data": "{{pay.data}}",
        "voters": "{{size(pay.by)}}",
        "why": "{{var.why}}",
        "by": "{{sign.by}}",
        "go": "{{after.body.value}}",
    }
    return [{"name": "people", "nodes": nodes, "edges": edges, "outputs": outputs, "variables": {"why": None}}]


def inputs(random: Random, number: int) -> dict[str, Any]:
    return {"envelope": f"envelope-{number}"}


def expected(given: dict[str, Any]) -> Expected:
    return Expected(
        outputs={
            "decision": "approved",
            "data": {"cents": 7},
            "voters": 2,
            "why": "REJECTED",
            "by": given["envelope"],
            "go": True,
        }
    )


PEOPLE = Family(workflow="people", definitions=definitions, inputs=inputs, expected=expected)
