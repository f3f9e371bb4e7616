"""`/api/costs`: what it takes and what it answers."""

import pytest

from tests.api.conftest import Api

PAID = {
    "name": "paid",
    "nodes": [
        {
            "id": name,
            "type": "probe",
            "does": {"succeed": {}, "usage": {"model": model, "tokens_in": 1_000_000, "tokens_out": 0}},
        }
        for name, model in (("a", "openai/gpt-4o"), ("b", "openai/gpt-4o"), ("c", "mine"))
    ],
    "edges": [],
}


@pytest.fixture
def paid(api: Api) -> str:
    """A run of the workflow `paid`."""
    api.done(api.put("/api/prices/mine", {"input_cents_per_million": 999, "output_cents_per_million": 0}))
    api.define(PAID)
    return str(api.run("paid", labels={"team": "sales"})["id"])


def test_costs_are_summed_dearest_first(api: Api, paid: str) -> None:
    every = {
        "cost_microcents": 1_499_000_000,
        "tokens": {"input": 3_000_000, "output": 0},
        "attempts": 3,
        "runs": 1,
    }
    found = api.done(api.get("/api/costs"))
    assert found == {"items": [{"workflow": "paid", **every}], "next_cursor": None, "total": every}
    models = api.done(api.get("/api/costs", group_by="model,workflow", limit=1))
    assert models["items"] == [
        {
            "model": "mine",
            "workflow": "paid",
            "cost_microcents": 999_000_000,
            "tokens": {"input": 1_000_000, "output": 0},
            "attempts": 1,
            "runs": 1,
        }
    ]
    rest = api.done(api.get("/api/costs", group_by="model,workflow", limit=1, cursor=models["next_cursor"]))
    assert [(item["model"], item["attempts"]) for item in rest["items"]] == [("openai/gpt-4o", 2)]
    assert rest["total"] == models["total"] == every
    assert api.get("/api/costs", group_by="model", cursor=models["next_cursor"]).status_code == 422
    (day,) = {item["day"] for item in api.done(api.get("/api/costs", group_by="day,node"))["items"]}
    assert day == api.done(api.get(f"/api/runs/{paid}"))["created_at"][:10]


def test_costs_are_filtered(api: Api, paid: str) -> None:
    def cost(**query: str) -> int:
        return int(api.done(api.get("/api/costs", **query))["total"]["cost_microcents"])

    everything = cost()
    assert everything == cost(run=paid) == cost(workflow="paid") == cost(label="team:sales")
    assert everything == cost(created_after="2020-01-01T00:00:00Z", created_before="2999-01-01T00:00:00Z")
    assert cost(run="nobody") == cost(workflow="x") == cost(label="team:x") == 0
    assert cost(created_after="2999-01-01T00:00:00Z") == 0
    other = api.elsewhere()
    assert other.done(other.get("/api/costs", run=paid))["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"group_by": ""},
        {"group_by": "cost"},
        {"group_by": "day,day"},
        {"group_by": "day,"},
        {"status": "failed"},
    ],
)
def test_a_wrong_question_is_refused(api: Api, query: dict[str, str]) -> None:
    assert api.get("/api/costs", **query).status_code == 422
