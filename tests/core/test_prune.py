"""After which nodes an output has left the context."""

from typing import Any

from orchestrator.core import prune
from tests.support.definitions import compiled


def pruned(data: dict[str, Any]) -> dict[str, Any]:
    shown = prune.shown(compiled(data).plan)
    return {name: row["pruned_after"] for name, row in shown["nodes"].items()}


def noop(node_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "noop", **fields}


def test_an_output_stays_until_its_last_reader_has_ended() -> None:
    data = {
        "name": "w",
        "nodes": [
            noop("a"),
            noop("b", retain_output=True),
            noop("c", input_mapping={"x": "{{a.y}}"}),
            noop("d"),
        ],
        "edges": ["a >> b >> c >> d"],
    }
    assert pruned(data) == {"a": ["b", "c"], "b": None, "c": ["d"], "d": None}
    assert pruned({**data, "outputs": {"x": "{{a.y}}"}})["a"] is None
    assert pruned({**data, "outputs": {"x": "{{a.y}}"}})["d"] == []


def test_edges_read_what_they_name() -> None:
    nodes = [noop("a"), noop("b"), noop("c")]
    edges = ["a >> b", {"from": "b", "to": "c", "when": "a.x == 1"}]
    assert pruned({"name": "w", "nodes": nodes, "edges": edges})["a"] == ["b"]


def test_what_a_body_names_is_kept_for_its_container_too() -> None:
    body = {
        "nodes": [noop("in1", input_mapping={"x": "{{a.y}}"}), noop("in2")],
        "edges": ["in1 >> in2"],
    }
    each = {"id": "each", "type": "parallel", "count": 2, "body": body, "collect": "{{b.x}}{{in1.x}}"}
    data = {"name": "w", "nodes": [noop("a"), noop("b"), each, noop("z")], "edges": ["a >> b >> each >> z"]}
    shown = prune.shown(compiled(data).plan)
    assert pruned(data)["a"] == ["b", "each", "in1"]
    assert pruned(data)["b"] == ["each"]
    inner = {name: row["pruned_after"] for name, row in shown["nodes"]["each"]["body"]["nodes"].items()}
    assert inner == {"in1": ["each", "in2"], "in2": None}
