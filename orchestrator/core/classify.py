"""The class of a workflow with its reasons, and what a long one must have.

Source: spec "definition", Classification.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.core.nodetype import NOT_SHORT
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report, listed
from orchestrator.core.scope import NodeSpec

SHORT, MEDIUM, LONG = "short", "medium", "long"
_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """`name` is short, medium or long; `reasons` say why, in words for people."""

    name: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As the API shows it: `{class, reasons}`."""
        return {"class": self.name, "reasons": list(self.reasons)}


def classify(duration: object, nodes: Sequence[NodeSpec]) -> Classification:
    """The class that follows from the expected duration (a word, or None) and the nodes.

    long: days or weeks, or a step that may wait for days; two or more external systems, compensation, a pause for
    people, an external commitment. short: seconds or nothing said, and no step that leaves this machine or waits
    for 30 s; a slow step (an agent) and a call of another workflow are short only if the duration says so.
    medium: the rest.
    """
    reasons = _long(duration, nodes)
    if reasons:
        return Classification(name=LONG, reasons=tuple(reasons))
    reasons = _medium(duration, nodes)
    if reasons:
        return Classification(name=MEDIUM, reasons=tuple(reasons))
    return Classification(name=SHORT, reasons=("under 30 seconds, in one service, without external I/O",))


def check_long(report: Report, nodes: Sequence[NodeSpec]) -> None:
    """Report what the steps with external side effects of a long workflow lack."""
    for node in nodes:
        if node.raw.get("side_effects") != "external":
            continue
        who = f'"{node.id}" has external side effects in a long workflow'
        if "idempotency_key" not in node.raw:
            message = f"{who}; give it an idempotency_key of its own"
            report.add(child(node.pointer, "idempotency_key"), Code.LONG_WITHOUT_COMPENSATION, message)
        if "compensate" not in node.raw:
            message = f"{who}; give it a compensate, or {{type: none, reason: …}}"
            report.add(child(node.pointer, "compensate"), Code.LONG_WITHOUT_COMPENSATION, message)


def _long(duration: object, nodes: Sequence[NodeSpec]) -> list[str]:
    reasons = [f"it is expected to take {duration}"] if duration in ("days", "weeks") else []
    days = _waiting(nodes, _DAY)
    if days:
        reasons.append(f"it may wait for days: {listed(days)}")
    people = [node.id for node in nodes if node.type is not None and node.type.people]
    if people:
        reasons.append(f"it waits for people: {listed(people)}")
    systems = _systems(nodes)
    if len(systems) >= 2:
        reasons.append(f"it touches {len(systems)} external systems: {listed(systems)}")
    undone = [node.id for node in nodes if _is_undone(node.raw)]
    if undone:
        reasons.append(f"it has compensation: {listed(undone)}")
    committed = [node.id for node in nodes if node.raw.get("side_effects") == "external"]
    if committed:
        reasons.append(f"it makes an external commitment: {listed(committed)}")
    return reasons


def _medium(duration: object, nodes: Sequence[NodeSpec]) -> list[str]:
    reasons = [f"it is expected to take {duration}"] if duration in ("minutes", "hours") else []
    external = [node.id for node in nodes if node.type is not None and node.type.external]
    if external:
        reasons.append(f"it has external I/O: {listed(external)}")
    slow = [node.id for node in nodes if node.type is not None and node.type.slow and not node.type.external]
    if slow and duration != "seconds":
        reasons.append(f"it has steps that take their time: {listed(slow)}")
    calling = [node.id for node in nodes if node.type is not None and node.type.calls]
    if calling and duration != "seconds":
        reasons.append(f"it calls other workflows: {listed(calling)}")
    waiting = _waiting(nodes, NOT_SHORT)
    if waiting:
        reasons.append(f"it waits for 30 seconds and more: {listed(waiting)}")
    systems = _systems(nodes)
    if systems:
        reasons.append(f"it touches an external system: {systems[0]}")
    return reasons


def _waiting(nodes: Sequence[NodeSpec], seconds: float) -> list[str]:
    """The nodes without mistakes that may wait for so long."""
    return [
        node.id
        for node in nodes
        if node.sound and node.type is not None and node.type.waits is not None
        if node.type.waits(node.raw) >= seconds
    ]


def _systems(nodes: Sequence[NodeSpec]) -> list[str]:
    found: dict[str, None] = {}
    for node in nodes:
        systems = node.raw.get("systems")
        if isinstance(systems, list):
            found.update(dict.fromkeys(system for system in systems if isinstance(system, str)))
    return list(found)


def _is_undone(raw: Mapping[str, Any]) -> bool:
    compensate = raw.get("compensate")
    return isinstance(compensate, dict) and compensate.get("type") != "none"
