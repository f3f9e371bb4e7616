"""The closure of skips: what dies with a step, in rounds of bounded size."""

from typing import Any

from models.states import StepStatus
from orchestrator.core import skips
from orchestrator.core.plan import Plan
from orchestrator.core.skips import CHUNK, Counters
from tests.support.definitions import compiled, noop, workflow


def plan_of(*nodes: dict[str, Any], edges: Any) -> Plan:
    return compiled(workflow(*nodes, edges=edges)).plan


def pending(plan: Plan, **others: Counters) -> dict[int, Counters]:
    """The rows of a run in which nothing is decided, but for `others`, by id."""
    fresh = {
        node.no: Counters(status=StepStatus.PENDING, attempt=0, undecided=len(node.ins), live=0)
        for node in plan.nodes
    }
    return fresh | {plan.numbers[name]: row for name, row in others.items()}


def skipped(plan: Plan, dead: list[str], rows: dict[int, Counters]) -> list[str]:
    found = skips.rounds(plan, [plan.numbers[name] for name in dead], rows)
    return [plan.nodes[move.no].id for moves, _ in found for move in moves]


def test_what_hangs_on_the_dead_alone_dies_with_it() -> None:
    plan = plan_of(*(noop(name) for name in "abcd"), edges=["a >> b >> c", "d >> c"])
    assert skipped(plan, ["a"], pending(plan)) == ["a", "b"]
    met = Counters(status=StepStatus.PENDING, attempt=0, undecided=1, live=0)
    assert skipped(plan, ["a"], pending(plan, c=met)) == ["a", "b", "c"]


def test_a_diamond_dies_once() -> None:
    plan = plan_of(*(noop(name) for name in "abcd"), edges=["a >> [b, c] >> d"])
    assert skipped(plan, ["a"], pending(plan)) == ["a", "b", "c", "d"]


def test_two_edges_between_the_same_steps_are_two_decisions() -> None:
    edges = [{"from": "a", "to": "b"}, {"from": "a", "to": "b", "handle": "error"}]
    plan = plan_of(noop("a"), noop("b"), edges=edges)
    [(moves, decisions)] = skips.rounds(plan, [0], pending(plan))
    assert [(move.no, move.undecided, move.live) for move in moves] == [(0, 0, 0), (1, 0, 0)]
    assert decisions == ()


def test_at_least_dies_when_too_few_can_still_live() -> None:
    join = noop("j", join={"at_least": 2})
    plan = plan_of(*(noop(name) for name in "abc"), join, edges=["[a, b, c] >> j"])
    assert skipped(plan, ["a"], pending(plan)) == ["a"]
    assert skipped(plan, ["a", "b"], pending(plan)) == ["a", "b", "j"]


def test_what_has_been_decided_already_is_not_decided_again() -> None:
    """A step that two rounds of one transaction find dead gives its targets one decision."""
    plan = plan_of(*(noop(name) for name in "abc"), edges=["[a, b] >> c"])
    gone = Counters(status=StepStatus.SKIPPED, attempt=0, undecided=0, live=0)
    told = Counters(status=StepStatus.PENDING, attempt=0, undecided=1, live=0)
    assert skips.rounds(plan, [0], pending(plan, a=gone, c=told)) == []


def test_targets_outside_are_told_by_decisions() -> None:
    plan = plan_of(*(noop(name) for name in "abcd"), edges=["a >> b", "[b, d] >> c"])
    [(moves, decisions)] = skips.rounds(plan, [0], pending(plan))
    assert [move.no for move in moves] == [0, 1]
    assert [(d.source, d.target, d.decided, d.live) for d in decisions] == [(1, 2, 1, 0)]


def test_rounds_are_of_bounded_size() -> None:
    count = 2 * CHUNK + 500
    names = [f"n{no}" for no in range(count)]
    edges = [" >> ".join([*names, "last"]), "other >> last"]
    plan = plan_of(*(noop(name) for name in [*names, "last", "other"]), edges=edges)
    found = skips.rounds(plan, [0], pending(plan))
    assert [len(moves) for moves, _ in found] == [CHUNK, CHUNK, 500]
    assert [len(decisions) for _, decisions in found] == [0, 0, 1]


def test_descendants_are_all_that_can_be_reached() -> None:
    plan = plan_of(*(noop(name) for name in "abcde"), edges=["a >> [b, c] >> d", "e >> d"])
    assert skips.descendants(plan, [1]) == {1, 3}
    assert skips.descendants(plan, [0, 4]) == {0, 1, 2, 3, 4}
