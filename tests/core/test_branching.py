"""How many branches start, and how many failures are borne: against a container that is counted by hand."""

from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.branching import (
    WINDOW,
    Counters,
    Opening,
    RefusedError,
    limit_reached,
    may_be_tolerated,
    opening,
    tolerates,
    window,
)
from orchestrator.core.plan import PlanNode


def container(**fields: Any) -> PlanNode:
    return PlanNode(no=0, id="c", type="loop" if "mode" in fields else "parallel", fields=fields)


@given(
    st.randoms(use_true_random=False),
    st.integers(0, 30),
    st.one_of(st.none(), st.integers(1, 40)),
    st.booleans(),
)
def test_branches_fill_the_window_and_end(random: Random, total: int, most: int | None, loop: bool) -> None:
    fields = {"mode": "for"} if loop else ({} if most is None else {"max_concurrency": most})
    limit = 1 if loop else most or WINDOW
    opened, running = 0, 0
    while True:
        row = Counters(total=total, opened=opened, ended=opened - running, failed=0)
        room = window(container(**fields), row)
        opened, running = opened + room, running + room
        assert running == min(limit, total - (opened - running))
        assert (
            window(
                container(**fields), Counters(total=total, opened=opened, ended=opened - running, failed=0)
            )
            == 0
        )
        if running == 0:
            break
        running -= random.randint(1, running)
    assert opened == total


def test_a_loop_of_unknown_length_goes_on_one_by_one() -> None:
    node = container(mode="while", max_iterations=3)
    assert [
        window(node, Counters(total=None, opened=n, ended=n - open_, failed=0))
        for n, open_ in ((0, 0), (1, 1), (1, 0))
    ] == [
        1,
        0,
        1,
    ]
    assert limit_reached(node, Counters(total=None, opened=2, ended=2, failed=0)) is None
    reached = limit_reached(node, Counters(total=None, opened=3, ended=3, failed=0))
    assert reached is not None
    assert reached.code == "LOOP_LIMIT"


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 100))
def test_a_percentage_bears_no_more_than_its_share(total: int, failed: int, percent: int) -> None:
    row = Counters(total=total, opened=total, ended=total, failed=min(failed, total))
    borne = Fraction(row.failed * 100) <= Fraction(percent * total)
    assert tolerates(container(tolerate_failures=f"{percent}%"), row) is borne


@given(st.integers(0, 50), st.integers(0, 50))
def test_a_number_bears_as_many(given_: int, failed: int) -> None:
    row = Counters(total=100, opened=100, ended=100, failed=failed)
    assert tolerates(container(tolerate_failures=given_), row) is (failed <= given_)
    assert tolerates(container(on_error="collect"), row)
    assert tolerates(container(on_error="fail_fast"), row) is (failed == 0)
    assert tolerates(container(mode="for"), row) is (failed == 0)


@pytest.mark.parametrize("given_", [0, 5, "0%", "9%", "100%"])
def test_what_may_be_tolerated(given_: Any) -> None:
    assert may_be_tolerated(given_)


@pytest.mark.parametrize("given_", [-1, True, 1.5, "", "5", "101%", "-1%", "1.5%", "%", "٣%", [1], None])
def test_what_may_not(given_: Any) -> None:
    assert not may_be_tolerated(given_)


@given(st.integers(0, 20))
def test_what_a_container_opens_with(count: int) -> None:
    items = list(range(count))
    assert opening(container(), {"count": count}, 20) == Opening(total=count)
    assert opening(container(), {"items": items}, 20) == Opening(total=count, items=items)
    assert opening(container(mode="while"), {"max_iterations": 3}, 20) == Opening(total=None)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"count": 21}, "VALIDATION"),
        ({"count": -1}, "VALIDATION"),
        ({"count": True}, "VALIDATION"),
        ({"count": 1.0}, "VALIDATION"),
        ({"count": "3"}, "VALIDATION"),
        ({"count": None}, "VALIDATION"),
        ({}, "VALIDATION"),
        ({"items": "abc"}, "VALIDATION"),
        ({"items": {"a": 1}}, "VALIDATION"),
        ({"items": None}, "VALIDATION"),
        ({"items": list(range(21))}, "VALIDATION"),
        ({"items": [1, 2, 3], "max_iterations": 2}, "LOOP_LIMIT"),
        ({"count": 3, "max_iterations": 2}, "LOOP_LIMIT"),
    ],
)
def test_what_a_container_cannot_open_with(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        opening(container(), fields, 20)
    assert (caught.value.error.code, caught.value.error.transient) == (code, False)
