"""Loops and parallels again, naively: a recursive interpreter of `tests.support.nests`, with no plan and no counter.

Branches are done one after the other. Where the engine may do them in another order with another end, the paths
below are `loose`: it is known that they end, not how.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.support import nests
from tests.support.graphs import TRUTH
from tests.support.reference import Reference


class Scope(Reference):
    """A run of the nodes of one scope: of the workflow, or of a body at a position."""

    def __init__(
        self, owner: "Nested", drawn: dict[str, Any], prefix: str = "", position: int | None = None
    ) -> None:
        self._owner = owner
        self.prefix = prefix
        nodes = [_placed(node, position) for node in drawn["nodes"]]
        super().__init__({"nodes": nodes, "edges": drawn["edges"]})

    def again(self) -> None:
        """Do again what is neither done nor was taken by an error edge."""
        lost = self.unhandled()
        for name, status in self.statuses.items():
            if name in lost or status == "skipped":
                self.statuses[name] = "pending"
        self._settle()

    def _outcome(self, node: dict[str, Any]) -> str:
        if "body" in node:
            ended = self._owner.container(node, self.prefix + node["id"])
            return super()._outcome({**node, "does": {}}) if ended else "failed"
        script = node.get("script", node.get("does"))
        if isinstance(script, list):
            done = self._owner.tried(node, script, self.prefix + node["id"])
            node = self._nodes[node["id"]] = {**node, "script": script, "does": done}
        return super()._outcome(node)

    def outputs(self) -> dict[str, Any]:
        """What its last nodes gave, by id."""
        last = [
            node["id"] for node in nests.ends({"nodes": list(self._nodes.values()), "edges": self._edges})
        ]
        return {name: self._output(name) for name in last if self.statuses[name] == "success"}

    def _output(self, name: str) -> Any:
        node = self._nodes[name]
        return self._owner.outputs[self.prefix + name] if "body" in node else node["does"]["succeed"]


def _placed(node: dict[str, Any], position: int | None) -> dict[str, Any]:
    if node.get("when") in nests.BY_PLACE:
        return {**node, "when": "true" if nests.BY_PLACE[node["when"]] == position else "false"}
    return node


@dataclass(slots=True, kw_only=True)
class Container:
    """What a container keeps from one attempt to the next."""

    branches: list[Scope] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Nested:
    """A run of a whole definition. `loose`: paths below which nothing is known. `sure`: whether all else is."""

    definition: dict[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    sure: bool = True
    root: Scope = field(init=False)
    _kept: dict[str, Container] = field(default_factory=dict)
    _attempts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = Scope(self, self.definition)
        self.root.complete_all()

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each step by its path."""
        found = {self.root.prefix + name: status for name, status in self.root.statuses.items()}
        for container in self._kept.values():
            for branch in container.branches:
                found |= {branch.prefix + name: status for name, status in branch.statuses.items()}
        return found

    def tried(self, node: dict[str, Any], script: list[dict[str, Any]], path: str) -> dict[str, Any]:
        """What the last attempt of a flaky probe did."""
        done: dict[str, Any] = {}
        for _ in range(node.get("retry", {}).get("max_attempts", 1)):
            self._attempts[path] = self._attempts.get(path, 0) + 1
            done = script[min(self._attempts[path], len(script)) - 1]
            if "fail" not in done:
                break
        return done

    def container(self, node: dict[str, Any], path: str) -> bool:
        """Run a container with its retries; whether it succeeded."""
        kept = self._kept.setdefault(path, Container())
        for _ in range(node.get("retry", {}).get("max_attempts", 1)):
            if self._attempt(node, path, kept):
                results = [self._result(node, kept, place) for place in range(len(kept.branches))]
                self.outputs[path] = {"results": results, "count": len(results), "failed": len(kept.failed)}
                return True
            if not _has_flaky(node["body"]):
                break
        return False

    def _attempt(self, node: dict[str, Any], path: str, kept: Container) -> bool:
        for place in sorted(kept.failed):
            kept.failed.discard(place)
            kept.branches[place].again()
            self._end(node, path, kept, place)
        while self._tolerates(node, kept):
            more = self._more(node, len(kept.branches))
            if not more:
                if more is None and _has_flaky(node["body"]):
                    self.sure = False  # whether what is around it is retried depends on which code came first
                return more is False
            place = len(kept.branches)
            kept.branches.append(Scope(self, node["body"], f"{path}[{place}]/", place))
            self._end(node, path, kept, place)
        if node["type"] == "parallel" and node.get("max_concurrency") != 1:
            self.loose.add(path + "[")
            self.sure = self.sure and not _has_flaky(node["body"])
        return False

    def _end(self, node: dict[str, Any], path: str, kept: Container, place: int) -> None:
        branch = kept.branches[place]
        branch.complete_all()
        if branch.unhandled():
            kept.failed.add(place)
            if self.definition["on_failure"] == "fail_fast":
                self.loose.add(branch.prefix)
            self.sure = self.sure and not _limited(node["body"])

    def _tolerates(self, node: dict[str, Any], kept: Container) -> bool:
        if not kept.failed or node.get("on_error") == "collect":
            return True
        given = node.get("tolerate_failures", 0)
        total = len(node["items"]) if "items" in node else node.get("count", 0)
        return len(kept.failed) <= (total // 2 if given == "50%" else given)

    def _more(self, node: dict[str, Any], done: int) -> bool | None:
        """Whether another branch starts; None: the container fails."""
        if "condition" not in node:
            return done < (len(node["items"]) if "items" in node else node["count"])
        condition = node["condition"]
        if node["mode"] == "do_while" and done == 0:
            return True
        held = TRUTH[condition] if condition in TRUTH else nests.BY_PLACE[condition] == done - 1
        return None if held is None or (held and done >= node["max_iterations"]) else held

    def _result(self, node: dict[str, Any], kept: Container, place: int) -> Any:
        if place in kept.failed:
            return "error"
        if "collect" in node:
            return {"at": place}
        outputs = kept.branches[place].outputs()
        return next(iter(outputs.values()), None) if len(nests.ends(node["body"])) == 1 else outputs


def _has_flaky(body: dict[str, Any]) -> bool:
    return any(
        isinstance(node.get("does"), list) or ("body" in node and _has_flaky(node["body"]))
        for node in body["nodes"]
    )


def _limited(body: dict[str, Any]) -> bool:
    """Whether a failure in it may be one that is never retried, beside others that are."""
    return _has_flaky(body) and any(
        "body" in node and ("condition" in node or _limited(node["body"])) for node in body["nodes"]
    )
