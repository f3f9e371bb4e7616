"""`/api/pools`, and the concurrency key that refuses a trigger."""

import pytest

from tests.api.conftest import Api


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


def test_a_pool_is_made_sized_and_removed(api: Api) -> None:
    made = api.done(api.put("/api/pools/gpu", {"size": 2}))
    assert {name: made[name] for name in ("name", "size", "taken", "waiting")} == {
        "name": "gpu",
        "size": 2,
        "taken": 0,
        "waiting": 0,
    }
    assert api.done(api.put("/api/pools/gpu", {"size": 3})) == {**made, "size": 3}
    api.done(api.put("/api/pools/cpu", {"size": 1}))
    listed = api.done(api.get("/api/pools", limit=1))
    assert [pool["name"] for pool in listed["items"]] == ["cpu"]
    more = api.done(api.get("/api/pools", limit=1, cursor=listed["next_cursor"]))
    assert ([pool["name"] for pool in more["items"]], more["next_cursor"]) == (["gpu"], None)
    assert api.done(api.delete("/api/pools/gpu"))["size"] == 3
    assert api.get("/api/pools/gpu").status_code == 404
    assert api.delete("/api/pools/gpu").status_code == 404


@pytest.mark.parametrize("body", [{}, {"size": -1}, {"size": "2"}, {"size": 1, "name": "x"}])
def test_a_pool_needs_a_size(api: Api, body: dict[str, object]) -> None:
    assert api.put("/api/pools/gpu", body).status_code == 422


def test_a_pool_needs_a_name(api: Api) -> None:
    assert api.put("/api/pools/No%20good", {"size": 1}).status_code == 422


def test_only_admins_make_pools(api: Api) -> None:
    api.done(api.put("/api/pools/gpu", {"size": 2}))
    operator = api.with_key("read", "operate")
    assert operator.get("/api/pools/gpu").status_code == 200
    assert operator.put("/api/pools/gpu", {"size": 9}).status_code == 403
    assert operator.delete("/api/pools/gpu").status_code == 403


def test_pools_of_other_workspaces_are_not_there(api: Api) -> None:
    api.done(api.put("/api/pools/gpu", {"size": 2}))
    other = api.elsewhere()
    assert other.get("/api/pools/gpu").status_code == 404
    assert other.done(other.get("/api/pools"))["items"] == []


def test_a_key_that_is_taken_refuses_the_trigger(api: Api) -> None:
    terms = {"key": "{{inputs.to}}", "limit": 1, "on_limit": "reject"}
    definition = {"name": "once", "nodes": [{"id": "a", "type": "probe"}], "concurrency": terms}
    api.done(api.post("/api/workflows", definition), 201)
    body = {"inputs": {"to": "x"}}
    api.done(api.post("/api/workflows/once/runs", body), 202)
    refused = api.post("/api/workflows/once/runs", body)
    assert (refused.status_code, refused.json["code"]) == (409, "CONFLICT")
    assert "concurrency key 'x'" in refused.json["detail"]
    unknown = api.post("/api/workflows/once/runs", {"inputs": {}})
    assert (unknown.status_code, unknown.json["errors"][0]["code"]) == (422, "UNRESOLVED_REFERENCE")
