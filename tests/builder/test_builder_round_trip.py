"""What the builder makes is what a hand would have written, as data, as JSON and as YAML."""

import json
import runpy
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Workflow
from orchestrator.builder.nodes import Choice, Source
from orchestrator.core.document import parse
from tests.support import graphs
from tests.support.definitions import LIMITS, compiled
from tests.support.programs import ROOT

PLAIN = ("condition", "noop", "router", "set")


def built(definition: dict[str, Any]) -> Workflow:
    """The definition said again in Python."""
    fields = {key: value for key, value in definition.items() if key not in ("name", "nodes", "edges")}
    workflow = Workflow(definition["name"], **fields)
    nodes = {node["id"]: _made(workflow, dict(node)) for node in definition["nodes"]}
    for edge in definition["edges"]:
        _source(nodes[edge["from"]], edge) >> nodes[edge["to"]]
    return workflow


def _made(workflow: Workflow, node: dict[str, Any]) -> Any:
    kind, name = node.pop("type"), node.pop("id")
    return getattr(workflow, kind)(name, **node) if kind in PLAIN else workflow.node(kind, name, **node)


def _source(node: Choice, edge: dict[str, Any]) -> Source:
    match edge["handle"]:
        case "error":
            return node.on_error
        case "else":
            return node.otherwise
        case "condition":
            return node.when(edge["when"])
        case "router":
            return node.route(edge["route"])
    return node


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_random_graph_is_the_one_written_by_hand(random: Random) -> None:
    by_hand = graphs.draw(random)
    workflow = built(by_hand)
    assert workflow.validate().digest == compiled(by_hand).digest
    assert workflow.validate().plan == compiled(by_hand).plan
    assert parse(workflow.to_yaml(), media="yaml", limits=LIMITS).data == workflow.to_dict()
    assert json.loads(workflow.to_json()) == workflow.to_dict()


TEXT = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    # What a reader of YAML could take for something else.
    st.text("-+.0123456789exobnulltrue~: #'\"[]{}>|&*!%@`,?\\\n\t \r\x85\u2028\ufeff", max_size=12),
    st.sampled_from([".5e5", "0o17", "1e3", "no", "null", "~", "a >> [b, c] >> d", "<<", "=", "---", "...\n"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON, TEXT)
def test_any_value_comes_back_from_yaml_and_json(value: Any, expression: str) -> None:
    workflow = Workflow("test", description=expression, variables={"x": value})
    a = workflow.set("a", values={"y": value})
    with workflow.parallel("each", items=[value]):
        workflow.noop("b", when=expression) >> workflow.noop("c")
    a.when(expression) >> workflow.noop("d")
    for text, media in ((workflow.to_yaml(), "yaml"), (workflow.to_json(), "json")):
        read = parse(text.encode(), media=media, limits=LIMITS).data
        assert read == workflow.to_dict()
        assert json.dumps(read) == json.dumps(workflow.to_dict())  # 1, 1.0 and true are not the same


@pytest.mark.parametrize("name", ["lead_qualification.py"])
def test_an_example_is_its_yaml(name: str) -> None:
    made = [item for item in runpy.run_path(str(ROOT / "examples" / name)).values() if isinstance(item, Workflow)]
    by_hand = (ROOT / "examples" / name.replace("_", "-")).with_suffix(".yaml")
    assert [workflow.validate().digest for workflow in made] == [compiled(by_hand.read_text()).digest]
