"""The OpenAPI document is valid, complete and true."""

import json
import re
import socket
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from orchestrator.settings import Settings
from tests.api.conftest import ROUTED, Api


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def api_settings(api_settings: Settings) -> Settings:
    return replace(api_settings, http_allow=("127.0.0.1",))


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.done(api.without_key().get("/api/openapi.json"))
    return found


KEYLESS = (("post", "/api/hooks/{hook}"),)
# What a path is asked with beside its values.
ASKED = {
    "/api/runs/{run}": {"include": "steps"},
    "/api/runs/{run}/checkpoints/diff": {"from": "1", "to": "3"},
}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, found) for path, item in document["paths"].items() for method, found in item.items()
    ]


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_route_is_documented(api: Api, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:[^<>:]+:)?([^<>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in ("/api/docs", "/api/openapi.json")
    }

    assert {(path, method) for path, method, _ in operations(document)} == routes
    assert len({found["operationId"] for _, _, found in operations(document)}) == len(routes)
    assert all(found["summary"] for _, _, found in operations(document))
    assert {found["tags"][0] for _, _, found in operations(document)} == {
        tag["name"] for tag in document["tags"]
    }


def test_every_call_names_its_refusals_as_problems(document: dict[str, Any]) -> None:
    for path, method, found in operations(document):
        if not path.startswith("/api/"):
            continue
        assert {"429", "500", "503"} <= set(found["responses"]), path
        if "requestBody" in found:
            assert {"400", "413", "415", "422"} <= set(found["responses"]), path
        if (method, path) in KEYLESS or "{token}" in path:
            assert "security" not in found
            continue
        assert found["security"] == [{"key": []}], path
        assert {"401", "403"} <= set(found["responses"]), path
        if method != "get":
            assert "Idempotency-Key" in [parameter["name"] for parameter in found["parameters"]]
    for response in document["components"]["responses"].values():
        assert list(response["content"]) == ["application/problem+json"]


def test_what_is_answered_fits_what_is_documented(api: Api, document: dict[str, Any]) -> None:
    api.define(ROUTED)
    run = api.run("triage", inputs={"amount": 1}, labels={"team": "sales"})["id"]
    api.done(api.post("/api/keys", {"name": "k", "scopes": ["read"]}), 201)
    values = {"workflow": "triage", "run": run, "path": "intake", "number": 1, "workspace": "default"}
    values["pool"] = api.done(api.put("/api/pools/gpu", {"size": 1}))["name"]
    api.define({"name": "asking", "nodes": [{"id": "ask", "type": "approval"}]})
    api.run("asking")
    values["approval"] = api.done(api.get("/api/approvals"))["items"][0]["id"]
    path = f"/api/approvals/{values['approval']}/links"
    values["token"] = api.done(api.post(path, {"name": "ada"}), 201)["token"]
    values["gateway"] = api.done(api.post("/api/gateways", {"name": "hub", "kind": "local"}), 201)["id"]
    values["agent"] = api.enrolled("mine", gateway="hub")[1]["agent_id"]
    values["hook"] = api.done(api.post("/api/hooks", {"name": "in", "workflow": "triage"}), 201)["name"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        body = {"url": f"http://127.0.0.1:{listener.getsockname()[1]}/", "events": ["run.*"]}
        values["webhook"] = api.done(api.post("/api/webhooks", body), 201)["id"]
    api.done(api.post(f"/api/webhooks/{values['webhook']}/test"), 202)
    values["model"] = "openai/gpt-4o"
    api.done(
        api.put("/api/prices/openai/gpt-4o", {"input_cents_per_million": 1, "output_cents_per_million": 0.5})
    )
    schedule = {"name": "nightly", "workflow": "triage", "cron": "@daily", "inputs": {"amount": 1}}
    values["schedule"] = api.done(api.post("/api/schedules", schedule), 201)["id"]
    api.done(api.post("/api/schedules/nightly/trigger"), 202)
    values["key"] = api.done(api.get("/api/keys"))["items"][0]["id"]

    checked = 0
    for path, method, found in operations(document):
        content = found["responses"].get("200", {}).get("content", {})
        if method != "get" or list(content) != ["application/json"]:
            continue
        answer = api.done(api.get(path.format(**values), **ASKED.get(path, {})))
        schema = {**content["application/json"]["schema"], "components": document["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(answer)
        checked += 1
    assert checked >= 15
    problem = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    refused = api.post("/api/workflows", {"name": 7}).get_json()
    jsonschema_rs.Draft202012Validator(problem).validate(refused)
    assert refused["errors"]


def test_the_document_is_the_same_each_time(api: Api, document: dict[str, Any]) -> None:
    assert json.dumps(api.done(api.get("/api/openapi.json"))) == json.dumps(document)
