"""Retries: which errors, how often, how long between."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import NEVER_RETRIED, TRANSIENT, ErrorCode
from orchestrator.core.conditions import ConditionError, evaluate
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import Retry
from orchestrator.core.retry import delay

ON_FAILURE = {
    "TOOL_FAILED",
    "VALIDATION",
    "POLICY_DENIED",
    "CREDIT_EXHAUSTED",
    "OUTPUT_TOO_LARGE",
    "UNRESOLVED_REFERENCE",
}
EXPECTED = {
    "always": set(ErrorCode),
    "on_failure": ON_FAILURE,
    "on_error": set(ErrorCode) - ON_FAILURE,
    "on_transient_error": set(TRANSIENT),
    "never": set(),
}


def holds(condition: str, names: dict[str, Any]) -> bool:
    return bool(evaluate(condition, names))


def pause(retry: Retry, code: str = "TIMEOUT", tries: int = 1, jitter: float = 0.5) -> float | None:
    return delay(retry, StepError.of(ErrorCode(code), "it broke"), tries, jitter, holds)


@pytest.mark.parametrize("policy", EXPECTED)
@pytest.mark.parametrize("code", list(ErrorCode))
def test_each_policy_covers_its_classes(policy: str, code: ErrorCode) -> None:
    retried = pause(Retry(max_attempts=2, policy=policy), code) is not None
    assert retried == (code in EXPECTED[policy] and code not in NEVER_RETRIED)


def test_transient_is_what_the_error_says() -> None:
    retry = Retry(max_attempts=2, policy="on_transient_error")
    busy = StepError.of(ErrorCode.TOOL_FAILED, "503", transient=True)
    assert delay(retry, busy, 1, 0.5, holds) == 1.0


def test_the_first_attempt_counts() -> None:
    retry = Retry(max_attempts=3)
    assert [pause(retry, tries=tries) is not None for tries in (1, 2, 3, 4)] == [True, True, False, False]
    assert pause(Retry()) is None


@pytest.mark.parametrize("policy", [name for name in EXPECTED if name != "never"])
def test_retry_on_and_not_on_narrow_each_policy(policy: str) -> None:
    for code in EXPECTED[policy] - NEVER_RETRIED:
        assert pause(Retry(max_attempts=2, policy=policy, retry_on=("LLM_DOWN", code)), code) is not None
        assert pause(Retry(max_attempts=2, policy=policy, retry_on=("EXPIRED",)), code) is None
        assert pause(Retry(max_attempts=2, policy=policy, not_on=(code,)), code) is None
        assert pause(Retry(max_attempts=2, policy=policy, retry_on=(code,), not_on=(code,)), code) is None


def test_retry_on_does_not_widen() -> None:
    assert pause(Retry(max_attempts=2, policy="never", retry_on=("TIMEOUT",))) is None
    assert pause(Retry(max_attempts=2, policy="on_failure", retry_on=("TIMEOUT",))) is None
    for code in NEVER_RETRIED:
        assert pause(Retry(max_attempts=2, retry_on=(code,)), code) is None


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        ("exponential", [1.0, 3.0, 9.0, 20.0, 20.0]),
        ("linear", [1.0, 2.0, 3.0, 4.0, 5.0]),
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_backoff(backoff: str, delays: list[float]) -> None:
    retry = Retry(max_attempts=10, backoff=backoff, initial=1, multiplier=3, max=20, jitter=0)
    assert [pause(retry, tries=tries) for tries in range(1, 6)] == delays


def test_jitter_spreads_round_the_delay_and_stays_below_the_cap() -> None:
    retry = Retry(max_attempts=10, backoff="constant", initial=10, max=11, jitter=0.2)
    assert pause(retry, jitter=0.0) == 8.0
    assert pause(retry, jitter=0.5) == 10.0
    assert pause(retry, jitter=0.999) == 11.0


@given(
    st.sampled_from(["exponential", "linear", "constant"]),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.floats(0, 1),
    st.integers(1, 1 << 1100),
    st.floats(0, 1, exclude_max=True),
)
def test_no_number_breaks_it(
    backoff: str, initial: float, multiplier: float, most: float, spread: float, tries: int, jitter: float
) -> None:
    retry = Retry(
        max_attempts=tries + 1,
        backoff=backoff,
        initial=initial,
        multiplier=multiplier,
        max=most,
        jitter=spread,
    )
    found = pause(retry, tries=tries, jitter=jitter)
    assert found is not None
    assert 0 <= found <= most


def test_the_condition_sees_the_error() -> None:
    retry = Retry(max_attempts=2, condition="error.code != 'TIMEOUT' && error.transient")
    assert pause(retry, "NETWORK") == 1.0
    assert pause(retry, "TIMEOUT") is None


def test_a_condition_that_fails_does_not_hold() -> None:
    with pytest.raises(ConditionError):
        holds("error.details.status == 503", {"error": {"details": None}})
    assert pause(Retry(max_attempts=2, condition="error.details.status == 503")) is None
