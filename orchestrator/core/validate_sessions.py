"""Sessions kept across steps: nodes that can run at once may not share one. Source: spec "definition", Node types."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import networkx as nx

from orchestrator.core import graph
from orchestrator.core.choices import Choices, exclude
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report
from orchestrator.core.scope import NodeSpec, Scope

# A session of more nodes must be a chain, so that not every two of them are compared.
_COMPARED = 100


def check_sessions(report: Report, scope: Scope, found: "nx.DiGraph[int]", choices: Choices) -> None:
    """Report agent nodes that share a session although neither runs before the other and both may run."""
    pairs = list(_sharing(scope, choices.order))
    loose = graph.not_before(found, pairs) if pairs else set()
    told: set[int] = set()
    for one, other in pairs:
        if (one, other) not in loose or other in told:
            continue
        if exclude(choices.made_for(one), choices.made_for(other)):
            continue
        told.add(other)
        node = scope.nodes[other]
        message = (
            f'"{node.id}" and "{scope.nodes[one].id}" can run at once and share the session '
            f'"{node.raw["session"]}"; name another session or put one after the other'
        )
        report.add(child(node.pointer, "session"), Code.INVALID_VALUE, message)


def _sharing(scope: Scope, order: Sequence[int]) -> Iterator[tuple[int, int]]:
    sessions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for no in order:
        key = _session(scope.nodes[no])
        if key is not None:
            sessions[key].append(no)
    for nodes in sessions.values():
        yield from combinations(nodes, 2) if len(nodes) <= _COMPARED else pairwise(nodes)


def _session(node: NodeSpec) -> tuple[str, str] | None:
    """The agent and the session of a node that keeps one."""
    session, agent = node.raw.get("session"), node.raw.get("agent")
    kept = node.type is not None and node.type.type == "agent" and node.owns_id
    if not kept or not isinstance(session, str) or not isinstance(agent, str) or session == "attempt":
        return None
    return agent.lower(), session
