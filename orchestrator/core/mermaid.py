"""A plan as a Mermaid flowchart: a shape for each node type, labels for handles, statuses as classes.

Text of users becomes nothing but text: all but letters, digits and a few marks is written as a character code,
so no label can end early, start a directive or carry a link. Source: https://mermaid.js.org/syntax/flowchart.html.
"""

import re
from collections.abc import Iterator, Mapping

from models.states import StepStatus
from orchestrator.core.nodetype import NodeType
from orchestrator.core.plan import Handle, OutEdge, Plan, PlanNode

_LONGEST_LABEL = 60
_CODED = re.compile(r"[^\w .,:=()+/?!-]")
# Words that a flowchart reads otherwise than as the name of a vertex.
_WORDS = frozenset(
    (
        *("call", "class", "classdef", "click", "default", "direction", "end", "flowchart", "graph", "href"),
        *("interpolate", "linkstyle", "style", "subgraph"),
    )
)
_OURS = re.compile(r"node[0-9]+_")
_COLOURS: Mapping[StepStatus, str] = {
    StepStatus.PENDING: "fill:#f4f4f5,stroke:#a1a1aa,color:#3f3f46",
    StepStatus.QUEUED: "fill:#e0f2fe,stroke:#38bdf8,color:#0c4a6e",
    StepStatus.RUNNING: "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a,stroke-width:3px",
    StepStatus.WAITING: "fill:#fef9c3,stroke:#ca8a04,color:#713f12",
    StepStatus.RETRYING: "fill:#ffedd5,stroke:#ea580c,color:#7c2d12",
    StepStatus.SUCCESS: "fill:#dcfce7,stroke:#16a34a,color:#14532d",
    StepStatus.FAILED: "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d",
    StepStatus.SKIPPED: "fill:#fafafa,stroke:#d4d4d8,color:#a1a1aa,stroke-dasharray:4",
    StepStatus.ABORTED: "fill:#e7e5e4,stroke:#57534e,color:#292524",
    StepStatus.COMPENSATING: "fill:#fae8ff,stroke:#c026d3,color:#701a75",
    StepStatus.COMPENSATED: "fill:#f3e8ff,stroke:#9333ea,color:#581c87",
}


def draw(plan: Plan, types: Mapping[str, NodeType], statuses: Mapping[str, str] | None = None) -> str:
    """The diagram; with `statuses` (a step's status by its path) each node has its status as a class."""
    names = [_vertex(node) for node in plan.nodes[: plan.forward]]
    lines = ["flowchart TD"]
    lines += _scope(plan, None, names, types, "    ")
    for node in plan.nodes[: plan.forward]:
        lines += (f"    {names[node.no]} {_arrow(edge)} {names[edge.target]}" for edge in node.out)
    lines += (f"    {line}" for line in _classes(plan, names, statuses or {}))
    return "\n".join(lines) + "\n"


def _scope(
    plan: Plan, scope: int | None, names: list[str], types: Mapping[str, NodeType], indent: str
) -> Iterator[str]:
    """The boxes of a scope; behind a container a frame with those of its body, hung on it."""
    for node in plan.members(scope):
        name = names[node.no]
        yield indent + _box(node, name, types)
        if node.body is not None:
            yield f'{indent}subgraph node{node.no}_body["{_label("body of " + node.id)}"]'
            yield from _scope(plan, node.no, names, types, indent + "    ")
            yield f"{indent}end"
            yield f"{indent}{name} -.- node{node.no}_body"


def _vertex(node: PlanNode) -> str:
    if node.scope is not None or node.id.lower() in _WORDS or _OURS.match(node.id):
        return f"node{node.no}_{node.id}"
    return node.id


def _box(node: PlanNode, name: str, types: Mapping[str, NodeType]) -> str:
    known = types.get(node.type)
    left, right = known.shape if known is not None else ("[", "]")
    text = _label(node.id if node.name is None else node.name)
    return f'{name}{left}"{text}<br/>{_label(node.type)}"{right}'


def _arrow(edge: OutEdge) -> str:
    match edge.handle:
        case Handle.SOURCE:
            return "-->"
        case Handle.ERROR:
            return '-.->|"error"|'
        case Handle.CONDITION:
            return f'-->|"{_label(edge.when or "")}"|'
        case Handle.ROUTER:
            return f'-->|"{_label(edge.route or "")}"|'
        case Handle.ELSE:
            return '-->|"else"|'


def _label(text: str) -> str:
    cut = text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"
    return _CODED.sub(lambda found: f"#{ord(found.group())};", " ".join(cut.split()))


def _classes(plan: Plan, names: list[str], statuses: Mapping[str, str]) -> Iterator[str]:
    drawn: dict[StepStatus, list[str]] = {}
    for node in plan.nodes:
        if node.scope is None and node.id in statuses:
            drawn.setdefault(StepStatus(statuses[node.id]), []).append(names[node.no])
    for status, members in drawn.items():
        yield f"classDef {status.value} {_COLOURS[status]}"
        yield f"class {','.join(members)} {status.value}"
