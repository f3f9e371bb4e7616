"""What comes from outside: refused with its place, whatever it is, without recursion."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.untrusted import problem


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ("a\x00b", ""),
        ({"a": ["x", "\ud800"]}, "/a/1"),
        ({"a/b": {"~": "\udfff"}}, "/a~1b/~0"),
        ([1, 1 << 63], "/1"),
        ([-(1 << 63) - 1], "/0"),
        ({"n": float("nan")}, "/n"),
        (float("inf"), ""),
        ({"\x00": 1}, ""),
        ({"x": {"\ud800": 1}}, "/x"),
        ({1: 2}, ""),
        ({"b": b"x"}, "/b"),
        ((1, 2), ""),
        ([{1, 2}], "/0"),
    ],
)
def test_what_cannot_be_stored_is_refused_at_its_place(value: Any, pointer: str) -> None:
    found = problem(value, max_nesting=8, pointer="/output")
    assert found is not None
    assert (found.code, found.pointer) == ("INVALID_VALUE", "/output" + pointer)
    assert found.message.isprintable()


@pytest.mark.parametrize(
    "value",
    [None, True, "é😀", (1 << 63) - 1, -(1 << 63), 1.5, {}, [], {"a": [{"b": ["\u0001\n"]}]}],
)
def test_what_json_holds_is_taken(value: Any) -> None:
    assert problem(value, max_nesting=8) is None


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}], ids=["lists", "objects"])
def test_nesting_is_counted_without_recursion(wrap: Any) -> None:
    value: Any = 1
    for _ in range(8):
        value = wrap(value)
    assert problem(value, max_nesting=8) is None
    found = problem(wrap(value), max_nesting=8)
    assert found is not None
    assert found.code == "TOO_DEEP"
    for _ in range(100_000):
        value = wrap(value)
    deepest = problem(value, max_nesting=64)
    assert deepest is not None
    assert deepest.pointer.count("/") == 64


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5)
    | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=3), inner, max_size=3)
    ),
    max_leaves=15,
)


@given(ANYTHING)
def test_what_passes_goes_through_json_and_utf_8(value: Any) -> None:
    if problem(value, max_nesting=64) is None:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        assert "\\u0000" not in text
        assert json.loads(text.encode()) == value
    else:
        with pytest.raises((TypeError, ValueError)):
            _store(value)


def _store(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()
    json.loads(text, parse_int=_int64)
    if "\\u0000" in text:
        raise ValueError("PostgreSQL has no NUL")


def _int64(text: str) -> int:
    if not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError("beyond 64 bits")
    return int(text)
