"""Which steps may go many at a time, and which one a worker goes on with."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.core.batches import SIZE, may_batch, starting
from orchestrator.core.nodetype import NodeType
from orchestrator.core.plan import Body, OutEdge, Plan, PlanNode

TYPE = NodeType(type="t")


def node(no: int = 0, **fields: Any) -> PlanNode:
    return PlanNode(no=no, id=f"n{no}", type="t", **fields)


def plan(*targets: PlanNode, sources: int = 1) -> Plan:
    """Sources that all lead to all targets."""
    out = tuple(OutEdge(target=target.no) for target in targets)
    return Plan(
        workflow="w", nodes=(*(node(no, out=out) for no in range(sources)), *targets), start=(0,), levels=()
    )


def chosen(found: Plan, sources: int = 1, *, cheap: Callable[[PlanNode], bool], **more: Any) -> tuple[int, ...]:
    given: dict[str, Any] = {"queue": "steps", "room": SIZE, "hands": 1} | more
    return starting(found, found.nodes[:sources], cheap=cheap, **given)


def every(_: PlanNode) -> bool:
    return True


def none(_: PlanNode) -> bool:
    return False


def test_a_plain_step_may() -> None:
    assert may_batch(node(), TYPE)


@pytest.mark.parametrize(
    "type_",
    [
        None,
        NodeType(type="t", batches=False),
        NodeType(type="t", slow=True),
        NodeType(type="t", external=True),
        NodeType(type="t", calls=True),
        NodeType(type="t", people=True),
    ],
)
def test_a_type_that_works_elsewhere_may_not(type_: NodeType | None) -> None:
    assert not may_batch(node(), type_)


@pytest.mark.parametrize(
    "fields",
    [
        {"slow": True},
        {"lets_end": True},
        {"calls": True},
        {"inline": True},
        {"undoes": 3},
        {"pool": "p"},
        {"rate": {"key": "k", "limit": 1, "per": 1}},
        {"heartbeat": 3.0},
        {"total_timeout": 3.0},
        {"timeout": 1.0},
        {"idempotency_key": "{{run.id}}"},
        {"body": Body(first=1, size=1, start=(1,), levels=((1,),))},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_node_that_needs_more_than_one_statement_may_not(fields: dict[str, Any]) -> None:
    assert not may_batch(node(**fields), TYPE)


def test_all_cheap_targets_are_taken_as_far_as_there_is_room() -> None:
    targets = [node(no) for no in range(1, 11)]
    assert chosen(plan(*targets), cheap=every) == tuple(range(1, 11))
    assert chosen(plan(*targets), cheap=every, room=3) == (1, 2, 3)
    assert chosen(plan(*targets), cheap=every, room=0) == ()


def test_of_others_exactly_one_is_and_none_behind_steps_at_hand() -> None:
    targets = [node(no) for no in range(1, 4)]
    assert chosen(plan(*targets), cheap=none) == (1,)
    assert chosen(plan(*targets), cheap=none, hands=0) == ()


def test_cheap_ones_leave_the_others_to_the_broker() -> None:
    assert chosen(plan(node(1), node(2)), cheap=lambda target: target.no == 2) == (2,)


def test_a_slow_step_is_taken_alone_or_not_at_all() -> None:
    assert chosen(plan(node(1, slow=True)), cheap=none) == (1,)
    assert chosen(plan(node(1, slow=True), node(2)), cheap=none) == (2,)
    assert chosen(plan(node(1, slow=True), node(2, slow=True)), cheap=none) == ()


@pytest.mark.parametrize(
    "fields", [{"queue": "gpu"}, {"pool": "p"}, {"heartbeat": 1.0}], ids=lambda fields: next(iter(fields))
)
def test_what_is_not_of_this_worker_or_needs_more_is_left(fields: dict[str, Any]) -> None:
    assert chosen(plan(node(1, **fields)), cheap=none) == ()


def test_an_inline_join_is_carried_on_by_any_queue() -> None:
    assert chosen(plan(node(2, queue="control", inline=True), sources=2), 2, cheap=none) == (2,)


def test_a_target_of_several_is_told_once() -> None:
    assert chosen(plan(node(2), sources=2), 2, cheap=every) == (2,)
