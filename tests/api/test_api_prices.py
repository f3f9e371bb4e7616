"""`/api/prices`: what a workspace pays for a model's tokens."""

from typing import Any

import pytest

from tests.api.conftest import Api

PRICE = {"input_cents_per_million": 250, "output_cents_per_million": 1000.5}


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


def shown(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "updated_at"}


def test_a_price_is_set_changed_and_removed(api: Api) -> None:
    path = "/api/prices/openai/gpt-4o"
    made = api.done(api.put(path, PRICE))
    assert shown(made) == {"model": "openai/gpt-4o", **PRICE, "cached_input_cents_per_million": None}
    changed = api.done(api.put(path, {**PRICE, "cached_input_cents_per_million": 0.000001}))
    assert changed["cached_input_cents_per_million"] == 0.000001
    assert api.done(api.get(path)) == changed
    api.done(api.put("/api/prices/local", PRICE))
    listed = api.done(api.get("/api/prices", limit=1))
    assert [price["model"] for price in listed["items"]] == ["local"]
    more = api.done(api.get("/api/prices", limit=1, cursor=listed["next_cursor"]))
    assert (more["items"], more["next_cursor"]) == ([changed], None)
    assert api.done(api.delete(path)) == changed
    assert (api.get(path).status_code, api.delete(path).status_code) == (404, 404)


@pytest.mark.parametrize("wrong", [-1, "1", True, None, 0.0000001, 1e9, 10**400, [1]])
def test_a_price_is_a_number_of_cents_with_six_decimals(api: Api, wrong: Any) -> None:
    refused = api.put("/api/prices/m", {**PRICE, "output_cents_per_million": wrong})
    assert refused.status_code in (400, 422)
    assert api.done(api.get("/api/prices"))["items"] == []


@pytest.mark.parametrize("number", [0, 0.1, 12.345678, 99_999_999.999999, 100_000_000])
def test_a_price_is_kept_exactly(api: Api, number: float) -> None:
    made = api.done(api.put("/api/prices/m", {**PRICE, "input_cents_per_million": number}))
    assert made["input_cents_per_million"] == number


def test_a_price_names_both_sides_and_a_model_of_some_length(api: Api) -> None:
    assert api.put("/api/prices/m", {"input_cents_per_million": 1}).status_code == 422
    assert api.put("/api/prices/m", {**PRICE, "currency": "EUR"}).status_code == 422
    assert api.put(f"/api/prices/{'m' * 256}", PRICE).status_code == 422


def test_only_admins_set_prices_and_each_workspace_its_own(api: Api) -> None:
    reader = api.with_key("read", "operate", "define")
    assert reader.put("/api/prices/m", PRICE).status_code == 403
    api.done(api.put("/api/prices/m", PRICE))
    assert reader.get("/api/prices/m").status_code == 200
    assert reader.delete("/api/prices/m").status_code == 403
    other = api.elsewhere()
    assert other.get("/api/prices/m").status_code == 404
    assert other.done(other.get("/api/prices"))["items"] == []
