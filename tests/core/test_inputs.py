"""Data chaining: shallow, in order, later wins."""

from orchestrator.core.inputs import merge


def test_later_outputs_win_and_nothing_is_merged_deeply() -> None:
    first, second = {"a": 1, "deep": {"x": 1}}, {"b": 2, "deep": {"y": 2}}
    assert merge([first, second]) == {"a": 1, "b": 2, "deep": {"y": 2}}
    assert merge([second, first])["deep"] == {"x": 1}
    assert first == {"a": 1, "deep": {"x": 1}}


def test_what_is_no_object_is_chained_as_value() -> None:
    assert merge([[1], {"a": 1}, "x", None]) == {"value": None, "a": 1}
    assert merge([False]) == {"value": False}


def test_no_predecessor_gives_an_empty_object() -> None:
    assert merge([]) == {}


def test_the_result_is_a_copy() -> None:
    output = {"a": 1}
    merge([output])["b"] = 2
    assert output == {"a": 1}
