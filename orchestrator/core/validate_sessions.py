"""Sessions kept across steps: nodes that can run at once may not share one. Source: spec "definition", Node types."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations, pairwise

import networkx as nx

from orchestrator.core import graph
from orchestrator.core.choices import Choices, exclude
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report
from orchestrator.core.scope import NodeSpec, Scope

# A session of more nodes must be a chain, so that not every two of them are compared.
_COMPARED = 100
_Kept = tuple[int, NodeSpec]


def check_sessions(
    report: Report,
    scope: Scope,
    found: "nx.DiGraph[int]",
    choices: Choices,
    inner: Mapping[int, Collection[NodeSpec]],
) -> None:
    """Report agent nodes that share a session although neither runs before the other and both may run.

    `inner`: the nodes in the bodies of this scope's containers, however deep, by the container's number.
    """
    pairs = list(_sharing(scope, choices.order, inner))
    loose = graph.not_before(found, [(one, other) for (one, _), (other, _) in pairs]) if pairs else set()
    told: set[str] = set()
    for (one, first), (other, node) in pairs:
        if (one, other) not in loose or node.pointer in told:
            continue
        if exclude(choices.made_for(one), choices.made_for(other)):
            continue
        told.add(node.pointer)
        message = (
            f'"{node.id}" and "{first.id}" can run at once and share the session '
            f'"{node.raw["session"]}"; name another session or put one after the other'
        )
        report.add(child(node.pointer, "session"), Code.INVALID_VALUE, message)


def check_branches(report: Report, nodes: Iterable[NodeSpec]) -> None:
    """Report agent nodes in the body of a parallel, however deep, that keep a session which its branches share."""
    for node in nodes:
        if _session(node) is not None and "{{" not in node.raw["session"]:
            message = (
                f'branches run at once and would share the session "{node.raw["session"]}" of "{node.id}"; '
                "write session: attempt, a name with {{parallel.index}} in it, or max_concurrency: 1"
            )
            report.add(child(node.pointer, "session"), Code.INVALID_VALUE, message)


def _sharing(
    scope: Scope, order: Iterable[int], inner: Mapping[int, Collection[NodeSpec]]
) -> Iterator[tuple[_Kept, _Kept]]:
    for nodes in _sessions(scope, order, inner):
        kept = list(nodes.items())
        yield from combinations(kept, 2) if len(kept) <= _COMPARED else pairwise(kept)


def _sessions(
    scope: Scope, order: Iterable[int], inner: Mapping[int, Collection[NodeSpec]]
) -> Iterator[dict[int, NodeSpec]]:
    """The nodes that share each session, by number.

    One that names no agent may be given the agent of any other that keeps the session.
    """
    sessions: dict[str, list[tuple[str | None, int, NodeSpec]]] = defaultdict(list)
    for no in order:
        for node in (scope.nodes[no], *inner.get(no, ())):
            found = _session(node)
            if found is not None:
                agent, session = found
                sessions[session].append((agent, no, node))
    for kept in sessions.values():
        agents = dict.fromkeys(agent for agent, _, _ in kept if agent is not None)
        for agent in agents or (None,):
            nodes: dict[int, NodeSpec] = {}
            for own, no, node in kept:
                if own in (None, agent):
                    nodes.setdefault(no, node)
            yield nodes


def _session(node: NodeSpec) -> tuple[str | None, str] | None:
    """The agent, where it is named, and the session of a node that keeps one."""
    session, agent = node.raw.get("session"), node.raw.get("agent")
    kept = node.type is not None and node.type.type == "agent" and node.owns_id
    if not kept or not isinstance(session, str) or session == "attempt":
        return None
    if agent is not None and not isinstance(agent, str):
        return None
    return None if agent is None else agent.lower(), session
