"""The Python of docs/builder.md runs, and its first piece is the example that it says it is."""

import re
from typing import Any

from orchestrator import Workflow
from tests.support.definitions import compiled
from tests.support.programs import ROOT


def pieces() -> list[Workflow]:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "builder.md").read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    found = []
    for block in blocks:
        exec(block, names)
        found.append(names["flow"])
    return found


def test_the_pieces_make_what_they_say() -> None:
    lead, edges, bodies = pieces()
    by_hand = (ROOT / "examples" / "assign-lead.yaml").read_text()
    assert lead.validate().digest == compiled(by_hand).digest
    assert edges.validate().plan.nodes[0].id == "a"
    assert [node["id"] for node in bodies.to_dict()["nodes"][1]["body"]["nodes"]] == ["read", "both"]
