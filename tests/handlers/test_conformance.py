"""What every node type of the registry keeps to, built in or from a plug-in."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import Failed, Outcome, Succeeded
from orchestrator.ports import Parts
from orchestrator.registry import BUILT_IN, handler_classes, make_handlers
from orchestrator.settings import load
from tests.support.contexts import context
from tests.support.nowhere import Nowhere

TYPES = sorted(handler_classes())
INLINE = [name for name in TYPES if handler_classes()[name].TYPE.inline]
COMMON = {
    *(
        "id",
        "type",
        "name",
        "input_mapping",
        "timeout",
        "retry",
        "error_port",
        "fallback",
        "join",
        "compensate",
    ),
    *(
        "side_effects",
        "systems",
        "idempotency_key",
        "estimated_cost_cents",
        "retain_output",
        "max_output_bytes",
    ),
    *("total_timeout", "heartbeat"),
    *("on_large_output", "degrade", "when", "queue", "priority"),
}
SHAPES = re.compile(r"[\[({>/\\]{1,3} [\])}/\\]{1,3}|@\{ shape: [a-z-]+, label:   \}")
OUTCOMES = get_args(Outcome)
_watching = False
_seen: list[str] = []


def parts() -> Parts:
    return Parts(settings=load({}), agents=Nowhere(), outbound=Nowhere())


HANDLERS = make_handlers(parts())


def node_type(name: str) -> NodeType:
    return handler_classes()[name].TYPE


def sample(field: Field) -> Any:
    if field.choices:
        return field.choices[0]
    return {
        FieldKind.OBJECT: {"k": 1},
        FieldKind.LIST: [1],
        FieldKind.INTEGER: 1,
        FieldKind.NUMBER: 1.5,
        FieldKind.BOOLEAN: True,
        FieldKind.DURATION: "1s",
        FieldKind.SCHEMA: {"type": "object"},
        FieldKind.EXPRESSION: "true",
        FieldKind.JSONATA: "$",
        FieldKind.CASES: [{"route": "a", "when": "true"}],
    }.get(field.kind, "text")


@contextmanager
def watched() -> Iterator[list[str]]:
    """What the interpreter is asked of the outside, by its audit events."""
    global _watching
    _seen.clear()
    _watching = True
    try:
        yield _seen
    finally:
        _watching = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watching and event.split(".")[0] in (
        "open",
        "os",
        "socket",
        "subprocess",
        "sqlite3",
        "shutil",
        "ctypes",
    ):
        _seen.append(event)


sys.addaudithook(_audit)


@pytest.mark.parametrize("name", TYPES)
def test_the_type_says_all_that_the_engine_asks(name: str) -> None:
    found = node_type(name)
    assert isinstance(found, NodeType)
    assert found.type == name
    assert found.queue in ("control", "steps")
    assert found.cost_cents >= 0
    assert not (found.inline and (found.slow or found.external or found.cost_cents)), "inline does no I/O"
    assert found.inline or not found.passes


@pytest.mark.parametrize("name", TYPES)
def test_own_fields_are_declared_once_and_shadow_no_common_one(name: str) -> None:
    found = node_type(name)
    names = [field.name for field in found.fields]
    assert len(names) == len(set(names))
    assert not (COMMON - {"queue"}) & set(names)  # which a type may own
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", field) for field in names)
    assert all(field.kind in FieldKind for field in found.fields)
    assert all(group and set(group) <= set(names) for group in found.one_of)


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_type_has_a_shape_of_its_own(name: str) -> None:
    shape = node_type(name).shape
    assert SHAPES.fullmatch(" ".join(shape))
    assert [other for other in BUILT_IN if node_type(other).shape == shape] == [name]


@pytest.mark.parametrize("name", TYPES)
def test_routes_are_names_known_from_the_fields(name: str) -> None:
    found = node_type(name)
    routes = ("",) if found.routes is None else found.routes({f.name: sample(f) for f in found.fields})
    assert routes
    assert all(isinstance(route, str) for route in routes)
    assert len(set(routes)) == len(routes)


@pytest.mark.parametrize("name", TYPES)
def test_one_handler_serves_a_process(name: str) -> None:
    assert type(HANDLERS[name]) is handler_classes()[name]
    assert callable(HANDLERS[name].execute)


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_attempt_with_sensible_fields_ends_in_an_outcome(name: str) -> None:
    found = node_type(name)
    given_fields = {field.name: sample(field) for field in found.fields if field.required}
    outcome = HANDLERS[name].execute(context(given_fields, type=name, input={"a": 1}))
    assert isinstance(outcome, OUTCOMES)
    if found.passes:
        assert isinstance(outcome, Succeeded)
        assert outcome.output == {"a": 1}


@pytest.mark.parametrize("name", INLINE)
def test_an_inline_type_asks_nothing_of_the_outside(name: str) -> None:
    fields = {field.name: sample(field) for field in node_type(name).fields}
    given_context = context(fields, type=name, input={"a": 1})
    HANDLERS[name].execute(given_context)
    with watched() as seen:
        HANDLERS[name].execute(given_context)
    assert seen == []


def test_the_watch_sees_what_is_asked() -> None:
    with watched() as seen, open(__file__) as file:
        file.read(1)
    assert "open" in seen


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WRITTEN = st.sampled_from(
    ["true", "inputs.nope", "1", "null", "inputs.x == 1", "1 +", "", "size(inputs)", "x" * 5000]
)


@pytest.mark.parametrize("name", [*INLINE, "transform"])
@settings(max_examples=60)
@given(st.data())
def test_odd_input_ends_in_an_outcome_too(name: str, data: st.DataObject) -> None:
    kinds = {
        FieldKind.EXPRESSION: WRITTEN,
        FieldKind.JSONATA: WRITTEN,
        FieldKind.CASES: st.lists(
            st.fixed_dictionaries({"route": st.text(max_size=5), "when": WRITTEN}), max_size=3
        ),
        FieldKind.NAME: st.text(max_size=5),
    }
    fields = {field.name: data.draw(kinds.get(field.kind, ODD)) for field in node_type(name).fields}
    outcome = HANDLERS[name].execute(context(fields, type=name, input={"odd": data.draw(ODD)}))
    assert isinstance(outcome, (Succeeded, Failed))
