"""The diagram: a shape for each type, labels for handles, classes for statuses, and text that stays text."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.states import StepStatus
from orchestrator.core.mermaid import draw
from orchestrator.registry import BUILT_IN
from tests.support.definitions import TYPES, compiled, noop, workflow

LINES = re.compile(
    r"flowchart TD"
    r"|    \w+(\[\[|\(\[|\(\(|\{\{|\[/|\[|\{|>|\(\()\"[^\"<>\[\]{}`\\|;%&@$^~*]*(#\d+;[^\"<>\[\]{}`\\|;%&@$^~*]*)*"
    r"<br/>[^\"<>]*\"(\]\]|\]\)|\)\)|\}\}|/\]|\]|\})"
    r"|    \w+ (-->|-\.->\|\"error\"\||-->\|\"[^\"<>]*\"\|) \w+"
    r"|    classDef [a-z]+ [a-z0-9#:,-]+"
    r"|    class [\w,]+ [a-z]+"
)


def drawn(*nodes: dict[str, Any], edges: Any = (), statuses: dict[str, str] | None = None) -> list[str]:
    lines = draw(compiled(workflow(*nodes, edges=edges)).plan, TYPES, statuses).split("\n")
    assert lines.pop() == ""
    return [line.removeprefix("    ") for line in lines]


def test_a_diagram() -> None:
    nodes = [
        {"id": "ask", "type": "agent", "agent": "x", "name": "Ask it"},
        {
            "id": "which",
            "type": "router",
            "cases": [{"route": "hot", "when": "ask.text == 'x'"}],
            "default": "cold",
        },
        {"id": "if_so", "type": "condition", "expression": "inputs.x == 1"},
        noop("done"),
    ]
    edges = [
        "ask >> which",
        {"from": "ask", "to": "done", "handle": "error"},
        {"from": "which", "to": "if_so", "route": "hot"},
        {"from": "which", "to": "done", "handle": "else"},
        {"from": "if_so", "to": "done", "when": "inputs.y > 2"},
    ]
    assert drawn(
        *nodes,
        edges=edges,
        statuses={"ask": "success", "which": "running", "if_so": "success", "gone": "failed"},
    ) == [
        "flowchart TD",
        'ask(["Ask it<br/>agent"])',
        'which{{"which<br/>router"}}',
        'if_so{"if_so<br/>condition"}',
        'done(("done<br/>noop"))',
        "ask --> which",
        'ask -.->|"error"| done',
        'which -->|"hot"| if_so',
        'which -->|"else"| done',
        'if_so -->|"inputs.y #62; 2"| done',
        "classDef success fill:#dcfce7,stroke:#16a34a,color:#14532d",
        "class ask,if_so success",
        "classDef running fill:#dbeafe,stroke:#2563eb,color:#1e3a8a,stroke-width:3px",
        "class which running",
    ]


def test_each_type_has_a_shape_of_its_own() -> None:
    assert len({TYPES[name].shape for name in BUILT_IN}) == len(BUILT_IN)


@pytest.mark.parametrize("status", list(StepStatus))
def test_every_status_has_a_class(status: StepStatus) -> None:
    assert drawn(noop("a"), statuses={"a": status.value})[-1] == f"class a {status.value}"


def test_words_of_the_language_are_no_vertices() -> None:
    lines = drawn(
        noop("end"),
        noop("Graph"),
        noop("node0_end"),
        noop("ending"),
        edges=["end >> Graph >> node0_end >> ending"],
    )
    assert lines[1:] == [
        'node0_end(("end<br/>noop"))',
        'node1_Graph(("Graph<br/>noop"))',
        'node2_node0_end(("node0_end<br/>noop"))',
        'ending(("ending<br/>noop"))',
        "node0_end --> node1_Graph",
        "node1_Graph --> node2_node0_end",
        "node2_node0_end --> ending",
    ]


@pytest.mark.parametrize(
    "name",
    [
        '"]; click a "javascript:alert(1)"',
        "%%{init: {'theme': 'dark'}}%%",
        "a\nb --> c",
        "<img src=x onerror=alert(1)>",
        "`**bold**`",
        "#quot;",
        "&lt;script&gt;",
    ],
)
def test_text_cannot_leave_its_label(name: str) -> None:
    line = drawn(noop("a", name=name))[1]
    label = line.removeprefix('a(("').removesuffix('<br/>noop"))')
    assert not re.search(r'["<>%{}\[\]`&\n]|#(?!\d+;)', label)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=100))
@settings(deadline=None)
def test_whatever_the_text_each_line_is_one_of_ours(text: str) -> None:
    if not text.strip():
        text += "x"
    router = {"id": "r", "type": "router", "cases": [{"route": text[:64].strip() or "x", "when": "true"}]}
    edges = [{"from": "r", "to": "a", "route": router["cases"][0]["route"]}]  # type: ignore[index]
    lines = draw(compiled(workflow(router, noop("a", name=text), edges=edges)).plan, TYPES).split("\n")[:-1]
    assert len(lines) == 4
    for line in lines:
        assert LINES.fullmatch(line), line
