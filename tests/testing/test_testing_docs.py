"""docs/testing.md: its tests pass, its table names every member, and what it sends is taken."""

import inspect
import re
from typing import Any

from orchestrator.testing import Env, Run
from tests.support.programs import ROOT

TEXT = (ROOT / "docs" / "testing.md").read_text()
INTERNAL = {"open", "close", "check", "actor", "hand"}


def test_the_samples_pass() -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    for block in blocks:
        exec(block, names)
    tests = [found for name, found in names.items() if name.startswith("test_")]
    assert (len(blocks), len(tests)) == (2, 3)
    for sample in tests:
        sample()


def test_every_member_is_named() -> None:
    words = set(re.findall(r"[`(\w ]?\b(\w+)\b", " ".join(re.findall(r"`([^`]*)`", TEXT))))
    members = {name for type_ in (Env, Run) for name, _ in inspect.getmembers(type_) if not name.startswith("_")}
    assert members - INTERNAL - words == set()
