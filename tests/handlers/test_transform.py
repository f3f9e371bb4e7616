"""The transform node: JSONata's results as JSON, its errors as failures, its work within bounds."""

import signal
import sys
import threading
import time
from typing import Any

import pytest

from models.errors import ErrorCode
from orchestrator.core import transforms
from orchestrator.core.outcome import Failed, Outcome, Succeeded
from orchestrator.handlers.alarm import DeadlineError, deadline
from orchestrator.handlers.transform import TransformHandler
from tests.support.contexts import context

# The alarm may ring while something else is collected, where nothing can be raised; it rings again 0.1 s later.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

INPUT = {"a": 1, "none": None, "items": [{"price": 2, "n": 3}, {"price": 1.5, "n": 2}], "name": "Ada"}


def execute(expression: str, input: Any = None, end: float | None = None) -> Outcome:
    handler = TransformHandler(None)  # type: ignore[arg-type]
    given = INPUT if input is None else input
    return handler.execute(context({"expression": expression}, type="transform", input=given, deadline=end))


def failure(outcome: Outcome) -> tuple[ErrorCode, str]:
    assert isinstance(outcome, Failed)
    return outcome.error.code, outcome.error.message


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$", INPUT),
        ("a", 1),
        ("none", None),
        ("nope", None),
        ("$sum(items.(price * n))", 9),
        ("items.price", [2, 1.5]),
        ("items[price > 1.8].n", 3),
        ("{'total': $sum(items.n), 'gone': nope, 'none': none}", {"total": 5, "none": None}),
        ("[1..5]", [1, 2, 3, 4, 5]),
        ("[]", []),
        ("{}", {}),
        ("$uppercase(name) & '!'", "ADA!"),
        ("$pad(name, 5, '-')", "Ada--"),
        ("$join(['a', 'b'], '-')", "a-b"),
        ("$replace('aab', 'a', 'c')", "ccb"),
        ("$replace('aab', /a/, function($m){'z'})", "zzb"),
        ("$ ~> |$|{'a': 2}|", {**INPUT, "a": 2}),
        ("($f := function($n){$n < 2 ? 1 : $n * $f($n - 1)}; $f(20))", 2432902008176640000),
    ],
)
def test_results_are_plain_json(expression: str, value: Any) -> None:
    outcome = execute(expression)
    assert outcome == Succeeded(output=value)
    assert isinstance(outcome, Succeeded)
    assert type(outcome.output) is type(value)


def test_the_input_is_not_changed() -> None:
    given = {"a": {"b": [1, {"c": None}]}}
    execute("$ ~> |a|{'b': 2, 'd': 3}|", given)
    assert given == {"a": {"b": [1, {"c": None}]}}


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("(", "Expected )"),
        ("a b", "S0201"),
        ("name > 1", "must be of the same data type"),
        ("$nope(1)", "non-function"),
        ("$error('told so')", "told so"),
        ("a / 0", "division"),
        ("$sum", "function"),
        ("[function($x){$x}]", "function"),
        ("$eval('1 + 1')", "$eval is not available"),
        ("$map(['1'], $eval)", "$eval is not available"),
        ("(" * 4_000, "nested too deeply"),
        ("x" * 9_000, "8,192"),
        ("($f := function($n){1 + $f($n)}; $f(1))", "recursive"),
    ],
)
def test_errors_are_failures_with_jsonatas_message(expression: str, says: str) -> None:
    code, message = failure(execute(expression))
    assert code is ErrorCode.VALIDATION
    assert says in message


@pytest.mark.parametrize(
    "expression",
    [
        "$sum([1..10000000])",
        "[1..900000].{'a': $}",
        "$match('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab', /^(a+)+$/)",
        "($f := function($n){$f($n)}; $f(1))",
        "$distinct([1..200000])",
    ],
)
def test_long_work_ends_as_a_timeout(expression: str) -> None:
    started = time.monotonic()
    assert failure(execute(expression))[0] is ErrorCode.TIMEOUT
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "expression",
    [
        "$pad('x', 1000000000)",
        "$pad('x', -1000000000)",
        "$reduce([1..60], function($a, $b){$a & $a}, 'aaaaaaaaaa')",
        "$reduce([1..60], function($a, $b){$append($a, $a)}, [1])",
        "$replace(long, 'a', long)",
        "$join($split(long, ''), long)",
    ],
)
def test_memory_is_bounded(expression: str) -> None:
    code, message = failure(execute(expression, {"long": "a" * 100_000}))
    # a slow machine meets the time bound first
    assert code is ErrorCode.TIMEOUT or (code is ErrorCode.VALIDATION and "would be built" in message)


def test_a_deadline_of_the_step_is_kept() -> None:
    started = time.monotonic()
    outcome = execute("($f := function($n){$f($n)}; $f(1))", end=time.monotonic() + 0.2)
    assert failure(outcome)[0] is ErrorCode.TIMEOUT
    assert time.monotonic() - started < 0.8


def test_in_another_thread_the_library_s_own_bounds_hold() -> None:
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(execute("($f := function($n){$f($n)}; $f(1))")))
    thread.start()
    thread.join(10)
    assert [failure(outcome)[0] for outcome in found] == [ErrorCode.TIMEOUT]


def test_eight_threads_share_compiled_expressions() -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        for turn in range(50):
            value = number * 1_000 + turn
            found = transforms.evaluate("{'v': n * 2, 'l': l.({'q': $})}", {"n": value, "l": [1, 2]}, 5)
            if found != {"v": 2 * value, "l": [{"q": 1}, {"q": 2}]}:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_each_evaluation_has_its_own_time() -> None:
    first = transforms.evaluate("$millis()", {}, 1)
    while time.time() * 1000 < first + 2:
        pass
    assert transforms.evaluate("$millis()", {}, 1) > first


def test_the_recursion_limit_of_the_process_stays() -> None:
    assert sys.getrecursionlimit() < 10_000


def spin(seconds: float) -> None:
    with deadline(seconds):
        while True:
            pass


def test_an_earlier_alarm_and_its_handler_come_back() -> None:
    before, left = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    rung: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(DeadlineError):
            spin(0.1)
        end = time.monotonic() + 2
        while not rung and time.monotonic() < end:
            pass
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left)


def test_check_tells_what_does_not_compile() -> None:
    assert transforms.check("$sum(items.price)") == []
    assert "S0203" in transforms.check("(")[0]
