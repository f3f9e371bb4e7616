"""Conditions: what they see, what they refuse, what they cannot do to the process."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import conditions
from orchestrator.core.conditions import ConditionError, check, evaluate, roots

NAMES: dict[str, Any] = {
    "inputs": {
        "amount": 1500,
        "rate": 2.5,
        "name": "Ada",
        "items": [1, 2, 3],
        "none": None,
        "deep": {"a": 1},
    },
    "loop": {"index": 2},
    "var": {"region": "eu"},
    "string": {"x": 7},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.amount > 1000", True),
        ("inputs.amount == 1500.0", True),
        ("inputs.rate > 2 && inputs.rate < 3", True),
        ("1 < 2.5", True),
        ("size(inputs.items) > 2.5", True),
        ("3 in inputs.items", True),
        ("'amount' in inputs", True),
        ("has(inputs.nope) || has(inputs.none)", True),
        ("inputs.none == null", True),
        ("inputs.name.startsWith('A') && inputs.name.contains('d')", True),
        ("loop.index + 1", 3),
        ("var.region == 'eu' ? 'x' : 'y'", "x"),
        ("inputs['deep'].a", 1),
        ("inputs.items.map(x, x * 2)", [2, 4, 6]),
        ("{'b': [1, 2.5, null], 'a': {'c': true}}", {"a": {"c": True}, "b": [1, 2.5, None]}),
        ("string.x", 7),
        ("string(1)", "1"),
        ("timestamp('2024-01-02T03:04:05Z')", "2024-01-02T03:04:05Z"),
        ("duration('90s')", 90.0),
        ("'loop.index' + var.region", "loop.indexeu"),
        ("r'\\d' == '\\\\d' // loop is no name here", True),
    ],
)
def test_values(expression: str, value: Any) -> None:
    assert check(expression, NAMES) == []
    found = evaluate(expression, NAMES)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "code", "says"),
    [
        ("inputs.nope == 1", "UNRESOLVED_REFERENCE", "'inputs.nope'"),
        ("has(inputs.x) || inputs.deep.b", "UNRESOLVED_REFERENCE", "'inputs.deep.b'"),
        ("inputs.none.x", "UNRESOLVED_REFERENCE", "'inputs.none.x'"),
        ("inputs['zz']", "UNRESOLVED_REFERENCE", '"zz"'),
        ("inputs.items[9]", "UNRESOLVED_REFERENCE", "item 9"),
        ("loop.nope", "UNRESOLVED_REFERENCE", "'loop.nope'"),
        ("gone.x == 1", "UNRESOLVED_REFERENCE", "'gone'"),
        ("size(gone) == 1", "UNRESOLVED_REFERENCE", "'gone'"),
        ("inputs.amount * 1.5", "VALIDATION", "double("),
        ("inputs.amount / 0", "VALIDATION", "divide by zero"),
        ("1.0 / 0.0", "VALIDATION", "inf"),
        ("b'x'", "VALIDATION", "bytes"),
        ("type(1)", "VALIDATION", "type"),
        ("1 +", "VALIDATION", "column 4"),
        ("", "VALIDATION", "column 1"),
    ],
)
def test_failures_name_what_is_wrong(expression: str, code: str, says: str) -> None:
    with pytest.raises(ConditionError) as caught:
        evaluate(expression, NAMES)
    assert caught.value.code == code
    assert says in str(caught.value)


def test_a_skipped_node_can_be_asked_for() -> None:
    assert evaluate("has(gone.x)", NAMES) is False


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("zzz == 1 && inputs.amount > 1", "column 1: 'zzz'"),
        ("inputs.items.map(x, y)", "column 21: 'y'"),
        ("1 +", "column 4: Syntax error"),
        ("'a' > 1", "no matching overload"),
        ("loop..x", "Syntax error"),
        ("for.x", "reserved identifier: for"),
        ("inputs.nope(1)", "'nope'"),
        ("[" * 40, "nested too deeply"),
        ("x" * 5000, "4,096"),
        ("'\ud800'", "no valid CEL"),
        ("\x00", "column 1"),
    ],
)
def test_check_tells_what_is_wrong(expression: str, says: str) -> None:
    assert says in "; ".join(check(expression, NAMES))


def test_check_reports_every_unknown_name_once_in_order() -> None:
    found = check("b.x && a.y && b.z", {"inputs"})
    assert [message.split(": ")[1].split()[0] for message in found] == ["'b'", "'a'"]


def test_check_of_a_condition_refuses_what_is_never_boolean() -> None:
    assert check("size(inputs)", NAMES) == []
    assert "never true or false" in check("size(inputs)", NAMES, boolean=True)[0]
    assert check("inputs.amount", NAMES, boolean=True) == []


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a.b > loop.index", {"a", "loop"}),
        ("items.all(x, x.y == z)", {"items", "z"}),
        ("a.map(x, b.map(y, x + y + c))", {"a", "b", "c"}),
        ("x.map(x, x) == x", {"x"}),
        ("size(a) > 1 && type(b) == int", {"a", "b"}),
        ("{'k': v}['k'] == \"inputs.q\" + r'''s'''", {"v"}),
        ("a.size() + a.b.size", {"a"}),
        ("1.5e3 > 0x1F", set()),
    ],
)
def test_roots(expression: str, expected: set[str]) -> None:
    assert roots(expression) == expected


def test_only_what_is_named_is_converted() -> None:
    class Opaque:
        """Nothing that CEL could convert."""

    names = {"inputs": {"a": {"b": 1, "c": Opaque()}, "d": Opaque()}}
    assert evaluate("inputs.a.b == 1", names) is True


def test_results_keep_one_order_of_keys() -> None:
    names = {"inputs": {f"k{i}": i for i in range(50)}}
    assert list(evaluate("inputs", names)) == sorted(names["inputs"])


@pytest.mark.parametrize(
    "expression",
    [
        "l.map(x, x).size() > 0",
        "l.all(x, l.all(y, l.all(z, z >= 0)))",
        "size(l.map(x, t + t + t))",
        "[[[l].map(x, x + x)[0]].map(x, x + x)[0]].map(x, x + x)[0].map(y, y)",
    ],
)
def test_work_is_bounded(expression: str) -> None:
    with pytest.raises(ConditionError, match="transform"):
        evaluate(expression, {"l": list(range(9000)), "t": "t" * 100_000})


def test_endless_nesting_does_not_end_the_process() -> None:
    value: Any = 1
    for _ in range(20_000):
        value = [value]
    with pytest.raises(ConditionError, match="deeper"):
        evaluate("size(a) > 0", {"a": value})


def test_a_lone_surrogate_is_an_error() -> None:
    with pytest.raises(ConditionError):
        evaluate("a + 'x'", {"a": "\ud800"})


def test_eight_threads_at_once() -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        for turn in range(500):
            name = f"node_{turn % 20}"
            found = evaluate(f"{name}.v * 2 == inputs.v && loop.v > 0", _names(name, number))
            if found is not True:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _names(name: str, number: int) -> dict[str, Any]:
    return {name: {"v": number}, "inputs": {"v": 2 * number}, "loop": {"v": number}}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc~/ é", max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert conditions.evaluate("inputs.v", {"inputs": {"v": value}}) == value


@given(st.text(max_size=60) | st.text("loopvar.()[]{}'\"\\,:?+!&|<>=x1 \n", max_size=60))
def test_no_text_breaks_the_check(expression: str) -> None:
    messages = check(expression, NAMES)
    if messages:
        return
    try:
        evaluate(expression, NAMES)
    except ConditionError:
        pass  # what compiles may still fail on its data, in the one way that callers know
