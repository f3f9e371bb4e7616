"""Loops and parallels collect what is made within them; the other types of control flow as written by hand."""

from typing import Any

import pytest

from orchestrator import Workflow
from orchestrator.core.document import parse
from tests.support.definitions import LIMITS, TYPES, compiled

BY_HAND = """\
name: nested
nodes:
  - {id: split, type: noop}
  - id: each
    type: loop
    mode: for_each
    items: "{{split.leads}}"
    max_iterations: 100
    collect: "{{join.total}}"
    timeout: 5m
    body:
      nodes:
        - {id: read, type: noop}
        - id: both
          type: parallel
          count: 2
          max_concurrency: 1
          collect: "{{work}}"
          on_error: collect
          tolerate_failures: 10%
          body:
            nodes:
              - {id: work, type: noop}
        - {id: join, type: noop}
      edges:
        - {from: read, to: both}
        - {from: both, to: join}
  - {id: until, type: loop, mode: do_while, condition: "loop.index < 3", max_iterations: 5,
     body: {nodes: [{id: read, type: noop}]}}
edges:
  - {from: split, to: each}
  - {from: each, to: until}
"""


def nested() -> Workflow:
    workflow = Workflow("nested")
    split = workflow.noop("split")
    with workflow.loop(
        "each",
        mode="for_each",
        items=split["leads"],
        max_iterations=100,
        collect="{{join.total}}",
        timeout="5m",
    ) as each:
        read = workflow.noop("read")
        with workflow.parallel(
            "both",
            count=2,
            max_concurrency=1,
            collect="{{work}}",
            on_error="collect",
            tolerate_failures="10%",
        ) as both:
            workflow.noop("work")
        read >> both >> workflow.noop("join")
    with workflow.loop("until", mode="do_while", condition="loop.index < 3", max_iterations=5) as until:
        workflow.noop("read")
    split >> each >> until
    return workflow


def by_hand(text: str) -> Any:
    return parse(text, media="yaml", limits=LIMITS).data


def test_bodies_hold_what_is_made_within_them() -> None:
    assert nested().to_dict() == by_hand(BY_HAND)
    assert by_hand(nested().to_yaml()) == by_hand(BY_HAND)


@pytest.mark.skipif(not {"loop", "parallel"} <= set(TYPES), reason="bodies are not run by this version")
def test_bodies_compile_as_written_by_hand() -> None:
    assert nested().validate().digest == compiled(BY_HAND).digest


def test_a_body_can_be_gone_on_with_and_is_left_by_an_exception() -> None:
    workflow = Workflow("test")
    each = workflow.loop("each", mode="for", count=2)
    with pytest.raises(ZeroDivisionError), each:
        1 // 0  # noqa: B018
    with each:
        workflow.noop("inner")
    workflow.noop("outer")
    with each:
        workflow.noop("second")
    found = workflow.to_dict()["nodes"]
    assert [node["id"] for node in found] == ["each", "outer"]
    assert [node["id"] for node in found[0]["body"]["nodes"]] == ["inner", "second"]
    assert [node.pointer for node in each.inner.nodes] == ["/nodes/0/body/nodes/0", "/nodes/0/body/nodes/1"]


def test_calls_of_others() -> None:
    workflow = Workflow("test")
    workflow.subworkflow("child", workflow="lead", version=3, inputs={"a": "{{inputs.a}}"}, wait=True)
    workflow.celery("task", task="shop.ship", args=[1], kwargs={"b": 2}, queue="shop")
    assert workflow.to_dict()["nodes"] == by_hand(
        """\
- {id: child, type: subworkflow, workflow: lead, version: 3, inputs: {a: "{{inputs.a}}"}, wait: true}
- {id: task, type: celery, task: shop.ship, args: [1], kwargs: {b: 2}, queue: shop}
"""
    )
