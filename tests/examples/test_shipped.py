"""Every definition that is shipped is valid, and every durable one is long, with its reasons."""

import re
import shlex
from typing import Any

import pytest

from models.database import Database
from orchestrator.cli.given import pairs
from orchestrator.core.document import Limits, parse
from tests.support import engine
from tests.support.definitions import compiled, wrong
from tests.support.durable import NAMES, text_of
from tests.support.programs import ROOT

SHIPPED = sorted(path.stem for path in (ROOT / "examples").glob("*.yaml"))
# What each touches, and where it waits for people and others: the inventory that the examples come from.
SYSTEMS = {
    "partner-approval": {"email", "whatsapp", "crm", "esign"},
    "dd-room": {"documents", "finance", "legal-review", "email", "counsel"},
    "signature": {"esign", "email", "crm", "documents"},
    "ma-offer": {"counsel", "advisors", "regulator", "documents"},
    "geographic-expansion": {"regulator", "partners", "infrastructure", "email"},
    "pmi-program": {"hr", "finance", "it", "legal", "crm"},
}
PAUSES = {
    "partner-approval": {"manager", "legal", "answer", "executive"},
    "dd-room": {"complete", "review", "committee"},
    "signature": {"approve", "signed", "by_hand"},
    "ma-offer": {"board", "answer", "clearance", "sign_off"},
    "geographic-expansion": {"licence", "canary_review", "scale"},
    "pmi-program": {"gate"},
}


def nodes(scope: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a definition, those of its bodies too."""
    found = []
    for node in scope["nodes"]:
        found += [node, *nodes(node.get("body", {"nodes": []}))]
    return found


def data(name: str) -> Any:
    return parse(text_of(name), media="yaml", limits=Limits()).data


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_valid_and_named_as_its_file(name: str) -> None:
    assert compiled(text_of(name)).plan.workflow == name


@pytest.mark.parametrize("name", NAMES)
def test_it_is_long_for_each_reason_that_there_is(name: str) -> None:
    found = compiled(text_of(name)).classification
    assert found["class"] == "long"
    said = " ".join(found["reasons"])
    for reason in ("expected to take", "waits for people", "external systems", "compensation", "commitment"):
        assert reason in said
    assert {system for node in nodes(data(name)) for system in node.get("systems", ())} == SYSTEMS[name]
    waits = [node for node in nodes(data(name)) if node["type"] in ("approval", "signal", "pause")]
    assert {node["id"] for node in waits} == PAUSES[name]
    assert [node["id"] for node in waits if node["type"] != "pause" and "expires" not in node] == []


@pytest.mark.parametrize("name", NAMES)
def test_without_its_keys_and_compensations_it_is_refused(name: str) -> None:
    definition = data(name)
    committed = [node for node in nodes(definition) if node.get("side_effects") == "external"]
    for node in committed:
        del node["idempotency_key"], node["compensate"]
    codes = [code for _, code in wrong(definition)]
    assert codes == ["LONG_WITHOUT_COMPENSATION"] * (2 * len(committed))


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("name", NAMES)
def test_the_inputs_of_the_docs_are_taken(database: Database, name: str) -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    found = re.search(rf"^\| `{name}\.yaml` \| `(.*)` \|$", page, re.MULTILINE)
    assert found is not None
    options = shlex.split(found[1])
    given = {"-i": ["services=http://127.0.0.1:8090"], "--var": list[str]()}
    for option, text in zip(options[::2], options[1::2], strict=True):
        given[option].append(text)
    ours = engine.make(database)
    ours.publish(data(name))
    ours.start(name, inputs=pairs(given["-i"], "-i"), variables=pairs(given["--var"], "--var"))


def test_every_example_has_its_line_in_the_docs() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    missing = [name for name in SHIPPED if f"](../examples/{name}.yaml)" not in page]
    assert missing == []
