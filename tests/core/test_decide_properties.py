"""The pure core against a naive reference: random graphs, random outcomes, steps that end in any order."""

from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.moves import Decision, OnReady, verdict
from models.states import StepStatus
from orchestrator.core import decide, skips
from orchestrator.core.plan import Handle, Plan, PlanNode
from orchestrator.core.skips import Counters
from tests.support import graphs
from tests.support.definitions import compiled
from tests.support.graphs import TRUTH
from tests.support.reference import INLINE, Reference

_OF_STATUS = {
    StepStatus.PENDING: "pending",
    StepStatus.QUEUED: "ready",
    StepStatus.SUCCESS: "success",
    StepStatus.FAILED: "failed",
    StepStatus.SKIPPED: "skipped",
}


class Store:
    """A run's counters in memory, moved by what the core decides, as the databases' statements do it."""

    def __init__(self, definition: dict[str, Any], plan: Plan) -> None:
        self.plan = plan
        self._raw: list[dict[str, Any]] = definition["nodes"]
        self.rows = [
            Counters(status=StepStatus.PENDING, attempt=0, undecided=len(node.ins), live=0)
            for node in plan.nodes
        ]
        self._advance(decide.starting(plan))

    @property
    def statuses(self) -> dict[str, str]:
        return {
            node.id: _OF_STATUS[StepStatus(row.status)]
            for node, row in zip(self.plan.nodes, self.rows, strict=True)
        }

    def complete(self, no: int) -> None:
        """What a worker's completion does, if the step is still queued."""
        if self.rows[no].status == StepStatus.QUEUED:
            self._end(no)

    def _end(self, no: int) -> None:
        node, raw = self.plan.nodes[no], self._raw[no]
        digits = self._digits(node, raw)
        self._set(no, status=StepStatus.FAILED if digits is None else StepStatus.SUCCESS)
        failed = decide.edges_on_failure(node)
        self._advance(decide.decisions(self.plan, node, failed if digits is None else digits))

    def _digits(self, node: PlanNode, raw: dict[str, Any]) -> str | None:
        """The decided out-edges, None for a failure."""
        route = None
        if "fail" in raw.get("does", {}):
            return None
        if node.type == "condition":
            if TRUTH[raw["expression"]] is None:
                return None
            route = "true" if TRUTH[raw["expression"]] else "false"
        elif node.type == "router":
            cases = [(case["route"], TRUTH[case["when"]]) for case in raw["cases"]]
            route, held = next((c for c in cases if c[1] is not False), (raw.get("default"), True))
            if held is None:
                return None
        holds = [None if edge.when is None else TRUTH[edge.when] for edge in node.out]
        if any(held is None for edge, held in zip(node.out, holds, strict=True) if edge.when is not None):
            return None
        terminal = raw.get("does", {}).get("terminal", False)
        return decide.edges_on_success(node, route=route, terminal=terminal, holds=holds)

    def _advance(self, decisions: tuple[Decision, ...]) -> None:
        dead = []
        for target, found in self._apply(decisions):
            node = self.plan.nodes[target]
            held = TRUTH[node.when] if node.when is not None else True
            if found == "dead" or (found == "ready" and held is False):
                dead.append(target)
            elif found == "ready":
                self._begin(node, held)
        if dead:
            self._skip(dead)

    def _apply(self, decisions: tuple[Decision, ...]) -> list[tuple[int, str]]:
        found = []
        for target in dict.fromkeys(decision.target for decision in decisions):
            mine = [decision for decision in decisions if decision.target == target]
            row = self.rows[target]
            before = (row.undecided, row.live)
            after = (before[0] - sum(d.decided for d in mine), before[1] + sum(d.live for d in mine))
            self._set(target, undecided=after[0], live=after[1])
            if row.status == StepStatus.PENDING and (said := verdict(before, after, mine[0].need)):
                found.append((target, said))
        return found

    def _begin(self, node: PlanNode, held: bool | None) -> None:
        inline = decide.on_ready(node) is OnReady.INLINE
        assert inline == (node.type in INLINE or node.when is not None)
        if held is None:
            self._set(node.no, status=StepStatus.FAILED)
            self._advance(decide.decisions(self.plan, node, decide.edges_on_failure(node)))
        elif node.inline:
            self._end(node.no)
        else:
            self._set(node.no, status=StepStatus.QUEUED)

    def _skip(self, dead: list[int]) -> None:
        rows = {no: self.rows[no] for no in skips.descendants(self.plan, dead)}
        for moves, decisions in skips.rounds(self.plan, dead, rows):
            for move in moves:
                assert self.rows[move.no].status == StepStatus.PENDING
                self._set(move.no, status=StepStatus.SKIPPED, undecided=move.undecided, live=move.live)
            self._advance(decisions)

    def _set(self, no: int, **changes: Any) -> None:
        row = self.rows[no]
        kept = {name: getattr(row, name) for name in ("status", "attempt", "undecided", "live")}
        self.rows[no] = Counters(**kept | {k: v for k, v in changes.items() if v is not None})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_core_agrees_with_the_reference(random: Random) -> None:
    """After each completion, in any order and repeated at will, every step stands where the rules put it."""
    definition = graphs.draw(random)
    plan = compiled(definition).plan
    store, reference = Store(definition, plan), Reference(definition)
    done: list[str] = []
    assert store.statuses == reference.statuses
    while reference.ready:
        name = random.choice(sorted(reference.ready))
        assert reference.met(name)
        reference.complete(name)
        store.complete(plan.numbers[name])
        done.append(name)
        store.complete(plan.numbers[random.choice(done)])
        assert store.statuses == reference.statuses, done
    assert "pending" not in store.statuses.values()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.randoms(use_true_random=False))
def test_the_end_does_not_depend_on_the_order(random: Random, order: Random) -> None:
    definition = graphs.draw(random)
    plan = compiled(definition).plan
    one, other = Store(definition, plan), Store(definition, plan)
    for store, choose in ((one, min), (other, lambda ready: order.choice(sorted(ready)))):
        while ready := {no for no, row in enumerate(store.rows) if row.status == StepStatus.QUEUED}:
            store.complete(choose(ready))
    assert one.rows == other.rows


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_counters_are_a_cache_of_the_decided_edges(random: Random) -> None:
    """At the end each counter is what the stored digits give, so that a sweep can compute it anew."""
    definition = graphs.draw(random)
    plan = compiled(definition).plan
    store, reference = Store(definition, plan), Reference(definition)
    while reference.ready:
        name = random.choice(sorted(reference.ready))
        reference.complete(name)
        store.complete(plan.numbers[name])
    edges = definition["edges"]
    for node, row in zip(plan.nodes, store.rows, strict=True):
        into = [reference.lives(edge) for edge in edges if edge["to"] == node.id]
        if into:
            assert (row.undecided, row.live) == (into.count(None), into.count(True)), node.id


def test_edges_of_a_failure_are_its_error_edges() -> None:
    plan = compiled(
        {
            "name": "test",
            "nodes": [{"id": name, "type": "probe"} for name in "abc"],
            "edges": [{"from": "a", "to": "b"}, {"from": "a", "to": "c", "handle": "error"}],
        }
    ).plan
    assert [edge.handle for edge in plan.nodes[0].out] == [Handle.SOURCE, Handle.ERROR]
    assert decide.edges_on_failure(plan.nodes[0]) == "01"
    assert decide.edges_on_success(plan.nodes[0], route=None, terminal=False, holds=[None, None]) == "10"
    assert decide.edges_on_success(plan.nodes[0], route=None, terminal=True, holds=[None, None]) == "00"
    assert decide.edges_on_skip(plan.nodes[0]) == "00"
