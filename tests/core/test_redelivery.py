"""The waits between attempts of a delivery: eight of them, each within its tenth."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.redelivery import JITTER, LONGEST, WAITS, wait

DRAWN = st.floats(0, 1, exclude_max=True)


def test_the_schedule_is_the_missions() -> None:
    assert WAITS == (0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
    assert round(sum(WAITS) / 3600, 1) == 27.6


@given(st.integers(0, 7), DRAWN)
def test_each_wait_is_within_a_tenth(tries: int, jitter: float) -> None:
    found = wait(tries, jitter)
    assert found is not None
    assert WAITS[tries] * (1 - JITTER) <= found <= WAITS[tries] * (1 + JITTER)
    assert found == wait(tries, jitter)


@given(st.integers(8, 1000), DRAWN, st.none() | st.floats(0, 1e9))
def test_after_the_eighth_there_is_none(tries: int, jitter: float, retry_after: float | None) -> None:
    assert wait(tries, jitter, retry_after) is None


@given(st.integers(0, 7), DRAWN, st.floats(0, 1e9))
def test_a_receiver_may_ask_for_later_never_for_sooner(tries: int, jitter: float, retry_after: float) -> None:
    plain, found = wait(tries, jitter), wait(tries, jitter, retry_after)
    assert plain is not None
    assert found == max(plain, min(retry_after, LONGEST))
