"""Fields of every kind of value come out as plain data; what is wrong is told in the words of the API."""

import math
from datetime import date
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidError
from orchestrator import Workflow
from orchestrator.core import templates
from tests.support.definitions import problems


class Tier(StrEnum):
    HOT = "hot"


def node(**fields: Any) -> dict[str, Any]:
    workflow = Workflow("test")
    workflow.node("noop", "a", **fields)
    found: dict[str, Any] = workflow.to_dict()["nodes"][0]
    return found


def test_references_become_text() -> None:
    score = Workflow("test").noop("score")
    assert node(
        input_mapping={"whole": score, "all": [score["output"]["points"][0]], "odd": score["a b"]['say "x"']},
        name=f"of {score['output']['name'].optional}",
        idempotency_key=score["error"]["code"].optional,
    ) == {
        "id": "a",
        "type": "noop",
        "input_mapping": {
            "whole": "{{score}}",
            "all": ["{{score.output.points[0]}}"],
            "odd": "{{score[\"a b\"]['say \"x\"']}}",
        },
        "name": "of {{score.output.name?}}",
        "idempotency_key": "{{score.error.code?}}",
    }


@given(st.lists(st.one_of(st.text(st.characters(codec="utf-8"), max_size=8), st.integers(0, 10**9 - 1))))
def test_a_reference_is_read_as_the_path_it_was_made_of(keys: list[str | int]) -> None:
    reference = Workflow("test").noop("a")["first"]
    try:
        for key in keys:
            reference = reference[key]
    except InvalidError:
        assert any(isinstance(key, str) and set(key) & set("\"'\\\n") for key in keys)
        return
    (path,) = templates.parse(str(reference))
    assert isinstance(path, templates.Path)
    assert path.steps == ("first", *keys)


@pytest.mark.parametrize("key", [-1, 10**9, "a\nb", "\\", "'\""])
def test_a_key_that_fits_into_no_path_is_refused(key: str | int) -> None:
    with pytest.raises(InvalidError):
        Workflow("test").noop("a")[key]


def test_values_are_copied_and_plain() -> None:
    systems = [Tier.HOT]
    workflow = Workflow("test", variables={"tiers": systems})
    systems.append(Tier.HOT)
    found = workflow.to_dict()
    assert found["variables"] == {"tiers": ["hot"]}
    assert type(found["variables"]["tiers"][0]) is str
    found["variables"]["tiers"].append("cold")
    assert workflow.to_dict()["variables"] == {"tiers": ["hot"]}
    workflow.noop(Tier.HOT).when(Tier.HOT) >> workflow.noop("b")
    assert "{from: hot, to: b, when: hot}" in workflow.to_yaml()
    assert node(systems=("crm",), retry={"jitter": True})["systems"] == ["crm"]


@pytest.mark.parametrize("value", [math.nan, date(2026, 1, 1), {1: "x"}, {"x"}, 1 << 64, b"x", "\ud800"])
def test_what_json_cannot_hold_has_a_pointer(value: Any) -> None:
    workflow = Workflow("test", variables={"x": value})
    for write in (workflow.to_json, workflow.to_yaml, workflow.validate):
        with pytest.raises(InvalidError) as caught:
            write()
        assert caught.value.problems[0].pointer.startswith("/variables/x")


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidError) as caught:
        Workflow("test", variables={"x": endless})
    assert caught.value.code == "TOO_DEEP"


def test_problems_are_those_of_the_same_document() -> None:
    workflow = Workflow("Test", **{"lables": {}})  # type: ignore[misc]
    a = workflow.noop("a", nmae="x", timeout="soon")  # type: ignore[call-arg]
    a >> workflow.node("http", "b") >> a
    with pytest.raises(InvalidError) as caught:
        workflow.validate()
    assert list(caught.value.problems) == problems(workflow.to_dict())
    assert len(caught.value.problems) == 6
    assert len(caught.value.__notes__) == 6


def test_a_node_is_its_whole_output() -> None:
    workflow = Workflow("test", outputs={"all": "{{a}}"})
    a = workflow.noop("a")
    a >> workflow.set("b", values={"x": a, "y": a.optional, "z": f"{a}"})
    assert workflow.validate().definition["nodes"][1]["values"] == {"x": "{{a}}", "y": "{{a?}}", "z": "{{a}}"}


def test_outputs_are_laid_over_each_other() -> None:
    workflow = Workflow("test", outputs={"a": 1, "b": 1})
    last = workflow.noop("last")
    workflow.outputs(b=last["b"])
    assert workflow.to_dict()["outputs"] == {"a": 1, "b": "{{last.b}}"}
