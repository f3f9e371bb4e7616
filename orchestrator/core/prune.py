"""What each step's output is kept in the working context for. Pure.

The context of a step is what its plan says it can name; nothing else is loaded for it. So an output has left the
context when the last node that can name it has ended; it stays in the step's log. Source: spec "engine", Context.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.core.plan import Plan


def readers(plan: Plan) -> Mapping[int, tuple[int, ...] | None]:
    """For each node the nodes that can read its output, None where it is never pruned.

    Those are its direct successors, whose input it is part of, and all that name it; a body's names count for its
    container too. Never pruned: what the workflow's outputs name, or are by default; what a container's results
    are made of; what a compensation undoes or names; what is marked `retain_output`.
    """
    found: dict[int, set[int]] = {node.no: set() for node in plan.nodes}
    kept = {node.no for node in plan.nodes if node.retain_output} | set(plan.output_refs)
    if plan.outputs is None:
        kept |= {node.no for node in plan.terminal}
    for node in plan.nodes:
        for edge in node.out:
            found[node.no].add(edge.target)
        for named in (*node.refs, *node.edge_refs):
            found[named].add(node.no)
        if node.body is not None:
            kept |= {last.no for last in plan.terminal_of(node.no)}
        if node.undoes is not None:
            kept |= {node.undoes, *node.refs}
    for node in plan.nodes:
        for named in (*node.refs, *node.edge_refs):
            found[named] |= _around(plan, node.no, plan.nodes[named].scope)
    return {no: None if no in kept else tuple(sorted(by - {no})) for no, by in found.items()}


def shown(plan: Plan) -> dict[str, Any]:
    """The plan as JSON, each node with `pruned_after`: the ids of its readers, null where it is never pruned."""
    data, found = plan.to_json(), readers(plan)
    scopes = [data]
    while scopes:
        for row in scopes.pop()["nodes"].values():
            by = found[row["no"]]
            row["pruned_after"] = None if by is None else [plan.nodes[no].id for no in by]
            if row["body"] is not None:
                scopes.append(row["body"])
    return data


def _around(plan: Plan, no: int, until: int | None) -> set[int]:
    """The containers around a node, up to the scope `until`."""
    found: set[int] = set()
    scope = plan.nodes[no].scope
    while scope is not None and scope != until:
        found.add(scope)
        scope = plan.nodes[scope].scope
    return found
