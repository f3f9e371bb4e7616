"""`client.costs`, `client.prices` and a run's timeline, against the real API."""

import pytest

from orchestrator.client import Client, Invalid, NotFound

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def test_prices_are_set_read_and_removed(client: Client) -> None:
    made = client.prices.set("openai/gpt-4o", input_cents=1.25, output_cents=10)
    assert (made["model"], made["input_cents_per_million"]) == ("openai/gpt-4o", 1.25)
    client.prices.set("local", input_cents=0, output_cents=0, cached_input_cents=0.5)
    assert [price["model"] for price in client.prices.list()] == ["local", "openai/gpt-4o"]
    assert client.prices.get("openai/gpt-4o") == made
    assert client.prices.remove("openai/gpt-4o") == made
    with pytest.raises(NotFound):
        client.prices.get("openai/gpt-4o")
    with pytest.raises(Invalid):
        client.prices.set("m", input_cents=0.1234567, output_cents=0)


def test_costs_and_timeline_are_read(client: Client) -> None:
    run = client.runs.start("triage", {"amount": 1}, labels={"team": "a"}, hold=30)
    by_node = list(client.costs.list(("node", "workflow"), run=run["id"]))
    assert sorted((cost["node"], cost["workflow"], cost["attempts"]) for cost in by_node) == [
        ("first", "triage", 1),
        ("second", "triage", 1),
    ]
    total = client.costs.total(labels={"team": "a"})
    assert total == {"cost_microcents": 0, "tokens": {"input": 0, "output": 0}, "attempts": 2, "runs": 1}
    assert client.costs.total(labels={"team": "b"})["attempts"] == 0
    spans = list(client.runs.timeline(run["id"]))
    assert [(span["path"], span["status"]) for span in spans] == [("first", "success"), ("second", "success")]
