"""Pauses grow to a bound, and patience ends."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.client import ConnectionFailed, RateLimited, Unavailable
from orchestrator.client.patience import Deadline, Grace, pause

AWAY = ConnectionFailed("away")


@given(st.integers(1, 10_000))
def test_pauses_grow_to_five_seconds(failures: int) -> None:
    grown = min(5.0, 0.2 * 2 ** (failures - 1)) if failures < 10 else 5.0
    assert grown / 2 <= pause(failures, AWAY) <= grown


@given(st.floats(0, 1e9))
def test_what_the_api_asks_is_heeded_up_to_five_seconds(asked: float) -> None:
    for error in (RateLimited(429, {}, asked), Unavailable(503, {}, asked)):
        assert min(asked, 5.0) <= pause(1, error) <= max(0.2, min(asked, 5.0))


def test_grace_ends_so_long_after_the_first_failure_in_a_row() -> None:
    grace = Grace(0.0)
    grace.failed(AWAY)
    grace.answered()
    grace.failed(AWAY)
    with pytest.raises(ConnectionFailed):
        grace.failed(AWAY)


def test_grace_never_outlasts_the_deadline() -> None:
    began = time.monotonic()
    Grace(60.0).failed(Unavailable(503, {}, 5.0), most=0.05)
    assert time.monotonic() - began >= 0.05
    with pytest.raises(ConnectionFailed):
        Grace(60.0).failed(AWAY, most=0.0)


def test_a_deadline_of_none_never_comes() -> None:
    assert Deadline(None).left == float("inf")
    assert Deadline(0.0).left <= 0
    assert 59 < Deadline(60.0).left <= 60
