"""The engine's rules again, naively: straight from "When a node is ready" and "Edges" of the definition.

Works on the definition alone, knows no plan, keeps no counter, and computes everything anew each time.
"""

from collections.abc import Iterable
from typing import Any

from tests.support.graphs import TRUTH

INLINE = ("noop", "set", "emit", "condition", "router")


class Reference:
    """A run of a definition of `tests.support.graphs`. `statuses`: pending, ready, success, failed, skipped."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self._nodes = {node["id"]: node for node in definition["nodes"]}
        self._edges: list[dict[str, Any]] = definition["edges"]
        self.statuses = dict.fromkeys(self._nodes, "pending")
        self.degraded: set[str] = set()
        self._settle()

    @property
    def ready(self) -> set[str]:
        """The steps that a worker has to do."""
        return {name for name, status in self.statuses.items() if status == "ready"}

    def complete(self, name: str) -> None:
        """A worker did a ready step."""
        assert self.statuses[name] == "ready"
        self.statuses[name] = self._outcome(self._nodes[name])
        self._settle()

    def complete_all(self) -> "Reference":
        while self.ready:
            self.complete(min(self.ready))
        return self

    def unhandled(self) -> set[str]:
        """The steps that failed with nothing to take it."""
        return {
            name
            for name, status in self.statuses.items()
            if status == "failed"
            and not self._nodes[name].get("error_port")
            and not any(edge["handle"] == "error" for edge in self._out(name))
        }

    def met(self, name: str) -> bool:
        """Whether the join of a step is met by what is decided now."""
        return self._verdict(name) == "ready"

    def lives(self, edge: dict[str, Any]) -> bool | None:
        """Whether an edge lives, None while it is undecided."""
        status = self.statuses[edge["from"]]
        if status in ("pending", "ready"):
            return None
        if status == "skipped" or self._ends_branch(edge["from"]):
            return False
        if status == "failed":
            return bool(edge["handle"] == "error")
        if edge["handle"] == "source":
            return True
        if edge["handle"] == "else":
            return not any(self._chosen(sibling) for sibling in self._out(edge["from"]))
        return self._chosen(edge)

    def _settle(self) -> None:
        before = None
        while before != self.statuses:
            before = dict(self.statuses)
            for name, status in before.items():
                if status == "pending" and (found := self._verdict(name)) is not None:
                    self.statuses[name] = found if found == "skipped" else self._begin(self._nodes[name])

    def _verdict(self, name: str) -> str | None:
        into = [self.lives(edge) for edge in self._edges if edge["to"] == name]
        if not into:
            return "ready"
        live, undecided = into.count(True), into.count(None)
        join = self._nodes[name].get("join", "all")
        if join == "all":
            if undecided:
                return None
            return "ready" if live else "skipped"
        wanted = 1 if join == "any" else join["at_least"]
        if live >= wanted:
            return "ready"
        return "skipped" if live + undecided < wanted else None

    def _begin(self, node: dict[str, Any]) -> str:
        held = TRUTH[node["when"]] if "when" in node else True
        if held is None:
            return self._failed(node)
        if not held:
            return "skipped"
        return self._outcome(node) if node["type"] in INLINE else "ready"

    def _outcome(self, node: dict[str, Any]) -> str:
        if "fail" in node.get("does", {}) or (
            node["type"] == "condition" and _is_broken([node["expression"]])
        ):
            return self._failed(node)
        if node["type"] == "router" and _is_broken(self._asked(node)):
            return self._failed(node)
        return "failed" if self._has_broken_edge(node) else "success"

    def _failed(self, node: dict[str, Any]) -> str:
        """A failure, unless the node degrades and its edges can be decided."""
        if "degrade" not in node or self._has_broken_edge(node):
            return "failed"
        self.degraded.add(node["id"])
        return "success"

    def _has_broken_edge(self, node: dict[str, Any]) -> bool:
        return _is_broken([edge["when"] for edge in self._out(node["id"]) if "when" in edge])

    def _asked(self, node: dict[str, Any]) -> list[str]:
        """The cases of a router up to the first that holds."""
        cases = [case["when"] for case in node["cases"]]
        held = next((no for no, case in enumerate(cases) if TRUTH[case]), len(cases))
        return cases[: held + 1]

    def _route(self, node: dict[str, Any]) -> str | None:
        if node["type"] == "condition":
            return "true" if TRUTH[node["expression"]] else "false"
        held = [case["route"] for case in node.get("cases", ()) if TRUTH[case["when"]]]
        return held[0] if held else node.get("default")

    def _chosen(self, edge: dict[str, Any]) -> bool:
        if edge["handle"] == "condition":
            return bool(TRUTH[edge["when"]])
        if edge["handle"] != "router" or edge["from"] in self.degraded:
            return False
        return bool(edge["route"] == self._route(self._nodes[edge["from"]]))

    def _ends_branch(self, name: str) -> bool:
        """A handler says so; one that degraded said nothing that counts."""
        if name in self.degraded:
            return False
        return self.statuses[name] == "success" and self._nodes[name].get("does", {}).get("terminal", False)

    def _out(self, name: str) -> list[dict[str, Any]]:
        return [edge for edge in self._edges if edge["from"] == name]


def _is_broken(expressions: Iterable[str]) -> bool:
    return any(TRUTH[expression] is None for expression in expressions)
