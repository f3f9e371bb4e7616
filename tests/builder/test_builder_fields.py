"""The builder knows the fields, types and words that the validation knows, no less and no more."""

from typing import Any, get_args, get_type_hints

import pytest

from models.errors import ErrorCode
from orchestrator import Workflow
from orchestrator.builder import fields, own_fields
from orchestrator.builder.references import Reference
from orchestrator.core import validate_nodes, validate_retry, validate_workflow
from orchestrator.core.nodetype import Field, FieldKind
from orchestrator.registry import BUILT_IN
from tests.support.definitions import TYPES

COMMON = {*validate_nodes.COMMON, "compensate"} - {"id", "type"}
# Of these the validation takes no text with braces as a whole.
LITERAL = (FieldKind.NAME, FieldKind.OBJECT, FieldKind.LIST, FieldKind.EXPRESSION, FieldKind.JSONATA)
CONTAINERS = ("loop", "parallel")


def keywords(method: str) -> Any:
    """The TypedDict of a method's keyword arguments."""
    unpacked = get_type_hints(getattr(Workflow, method))["fields"]
    return get_args(unpacked)[0]


def words(hint: Any) -> set[str]:
    return set(get_args(hint))


def test_the_fields_of_all_nodes() -> None:
    assert set(fields.Common.__annotations__) == COMMON
    assert not fields.Common.__required_keys__


def test_the_fields_of_a_workflow() -> None:
    assert {"name", *fields.WorkflowFields.__annotations__} == set(validate_workflow.WORKFLOW)


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_type_has_a_method_with_its_own_fields(name: str) -> None:
    made = {"body"} if name in CONTAINERS else set()  # what `with` collects
    own = {field.name for field in TYPES[name].fields} - made
    needed = {field.name for field in TYPES[name].fields if field.required} - made
    found = keywords(name)
    assert found.__required_keys__ | found.__optional_keys__ == own | COMMON
    assert found.__required_keys__ == needed


@pytest.mark.parametrize("name", BUILT_IN)
def test_references_are_offered_where_braces_are_resolved(name: str) -> None:
    hints = get_type_hints(keywords(name))
    for field in TYPES[name].fields:
        if field.kind is FieldKind.STRING:
            assert Reference in get_args(hints[field.name]), field.name
        elif field.kind in LITERAL:
            assert Reference not in get_args(hints[field.name]), field.name


def choices_of(name: str) -> list[Field]:
    return [field for field in TYPES[name].fields if field.choices and field.kind is FieldKind.NAME]


@pytest.mark.parametrize("name", [name for name in BUILT_IN if choices_of(name)])
def test_each_choice_is_offered(name: str) -> None:
    hints = get_type_hints(keywords(name))
    for field in choices_of(name):
        assert words(hints[field.name]) == set(field.choices)


def test_a_retry_policy() -> None:
    hints = get_type_hints(fields.Retry)
    assert set(hints) == set(validate_retry.FIELDS)
    assert words(hints["backoff"]) == set(validate_retry.BACKOFFS)
    assert words(hints["policy"]) == set(validate_retry.POLICIES)
    assert words(fields.ErrorCode) == {code.value for code in ErrorCode}


def test_an_agents_task() -> None:
    task = next(field for field in TYPES["agent"].fields if field.name == "task")
    assert set(own_fields.Task.__annotations__) == set(task.keys)


def test_durations_that_are_expected() -> None:
    hints = get_type_hints(fields.WorkflowFields)
    assert words(hints["duration"]) == set(validate_workflow.DURATIONS)
