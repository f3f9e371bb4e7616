"""What changed between two documents: by id for nodes, by value for edges, by place for the rest."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.diff import diff


def short(old: Any, new: Any) -> tuple[list[str], list[str], list[tuple[str, Any, Any]]]:
    found = diff(old, new)
    return (
        [one["pointer"] for one in found["added"]],
        [one["pointer"] for one in found["removed"]],
        [(one["pointer"], one["from"], one["to"]) for one in found["changed"]],
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, ([], [], [])),
        ({"a": 1}, {"a": 2}, ([], [], [("/a", 1, 2)])),
        ({"a": 1}, {"a": True}, ([], [], [("/a", 1, True)])),
        ({"a": None}, {}, ([], ["/a"], [])),
        ({}, {"a/b": None}, (["/a~1b"], [], [])),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3, 4]}}, (["/a/b/2"], [], [("/a/b/1", 2, 3)])),
        ({"a": [1]}, {"a": {"0": 1}}, ([], [], [("/a", [1], {"0": 1})])),
        (1, "1", ([], [], [("", 1, "1")])),
    ],
)
def test_values(old: Any, new: Any, expected: Any) -> None:
    assert short(old, new) == expected


def test_nodes_are_the_same_by_id() -> None:
    old = {"nodes": [{"id": "a", "t": 1}, {"id": "b", "t": 2}, {"id": "c"}]}
    new = {"nodes": [{"id": "x"}, {"id": "a", "t": 1}, {"id": "b", "t": 3}]}
    assert short(old, new) == (["/nodes/0"], ["/nodes/2"], [("/nodes/2/t", 2, 3)])


def test_an_order_that_changed_is_told() -> None:
    old, new = ({"nodes": [{"id": name} for name in names]} for names in ("abc", "cab"))
    assert short(old, new) == ([], [], [("/nodes", "order: a, b, c", "order: c, a, b")])


def test_edges_are_matched_by_value() -> None:
    old = {"edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]}
    new = {"edges": [{"to": "c", "from": "b"}, {"from": "a", "to": "c"}]}
    found = diff(old, new)
    assert found["added"] == [{"pointer": "/edges/1", "value": {"from": "a", "to": "c"}}]
    assert found["removed"] == [{"pointer": "/edges/0", "value": {"from": "a", "to": "b"}}]
    assert found["changed"] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON, JSON)
def test_equal_documents_have_no_difference_and_others_have_one(old: Any, new: Any) -> None:
    assert diff(old, copy.deepcopy(old)) == {"added": [], "removed": [], "changed": []}
    there, back = diff(old, new), diff(new, old)
    assert len(there["added"]) == len(back["removed"])
    assert len(there["changed"]) == len(back["changed"])


def test_deep_documents_do_not_recurse() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(50_000):
        old, new = [old], [new]
    assert [one["from"] for one in diff(old, new)["changed"]] == [1]
    # Freed from outside in, since the interpreter's own comparison and release would recurse.
    while isinstance(old, list):
        old, new = old.pop(), new.pop()
