"""Definitions over HTTP: written, versioned, compared, archived."""

from typing import Any

import pytest

from tests.api.conftest import DISPATCHED, ROUTED, Api

YAML = b"""\
name: from-yaml
nodes:
  - id: on
    type: noop
  - {id: off, type: noop}
edges: [on >> off]
"""
TWELVE = b"""\
name: Not A Name
colour: blue
timeout: soon
nodes:
  - {id: a, type: noop, retry: {max_attempts: 0}}
  - {id: a, type: noop}
  - {id: b, type: teleport}
  - {id: c, type: condition, expression: "inputs.x >"}
  - {id: d, type: http, url: "{{nobody.url}}"}
  - {id: e, type: noop, when: 7}
  - {type: noop}
  - {id: loop, type: noop}
edges:
  - {from: c, to: nowhere}
  - {from: d, to: e}
  - {from: e, to: d}
on_failure: explode
"""


def variant(**changes: Any) -> dict[str, Any]:
    return {**ROUTED, **changes}


def test_a_definition_becomes_version_1(api: Api) -> None:
    made = api.define(ROUTED)

    assert set(made) >= {"id", "name", "version", "classification", "estimated_cost_cents"}
    assert (made["name"], made["version"], made["estimated_cost_cents"]) == ("triage", 1, 0)
    assert set(made["classification"]) == {"class", "reasons"}
    by_id, by_name = api.get(f"/api/workflows/{made['id']}"), api.get("/api/workflows/triage")
    assert by_id.get_json() == by_name.get_json()
    assert by_name.get_json()["definition"]["nodes"][0]["id"] == "intake"


@pytest.mark.parametrize("media", ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"])
def test_yaml_is_taken_as_it_is_written(api: Api, media: str) -> None:
    made = api.call("POST", "/api/workflows", data=YAML, content_type=media)

    assert made.status_code == 201
    nodes = api.done(api.get("/api/workflows/from-yaml"))["definition"]["nodes"]
    assert [node["id"] for node in nodes] == ["on", "off"]


def test_an_existing_name_is_a_conflict_that_says_what_to_do(api: Api) -> None:
    api.define(ROUTED)

    refused = api.post("/api/workflows", ROUTED)

    assert refused.status_code == 409
    assert "PUT /api/workflows/triage" in refused.get_json()["detail"]


def test_every_mistake_is_told_at_once_with_pointer_line_and_code(api: Api) -> None:
    refused = api.call("POST", "/api/workflows", data=TWELVE, content_type="application/yaml")

    errors = api.done(refused, 422)["errors"]
    assert len(errors) >= 12
    assert all(error["pointer"].startswith("/") and error["code"] and error["line"] for error in errors)
    lines = {error["pointer"]: error["line"] for error in errors}
    assert lines["/colour"] == 2
    assert lines["/nodes/0/retry/max_attempts"] == 5
    assert {error["code"] for error in errors} >= {
        "UNKNOWN_FIELD", "MISSING_FIELD", "INVALID_NAME", "INVALID_DURATION", "DUPLICATE_ID",
        "UNSUPPORTED_NODE_TYPE", "INVALID_EXPRESSION", "DANGLING_EDGE",
    }  # fmt: skip
    assert api.done(api.get("/api/workflows"))["items"] == []


def test_validation_answers_the_same_and_stores_nothing(api: Api) -> None:
    wrong = api.call("POST", "/api/workflows/validate", data=TWELVE, content_type="application/yaml")
    right = api.done(api.post("/api/workflows/validate", ROUTED))

    verdict = api.done(wrong)
    refused = api.call("POST", "/api/workflows", data=TWELVE, content_type="application/yaml")
    assert verdict["valid"] is False
    assert verdict["errors"] == refused.get_json()["errors"]
    assert right["valid"] is True
    assert right["errors"] == []
    assert set(right["classification"]) == {"class", "reasons"}
    assert api.done(api.get("/api/workflows"))["items"] == []


def test_changed_content_makes_the_next_version_and_the_same_none(api: Api) -> None:
    api.define(ROUTED)

    assert api.done(api.put("/api/workflows/triage", ROUTED))["version"] == 1
    assert api.done(api.put("/api/workflows/triage", variant(description="new")))["version"] == 2
    assert api.done(api.put("/api/workflows/triage", variant(description="new")))["version"] == 2
    listed = api.done(api.get("/api/workflows/triage/versions"))["items"]
    assert [row["version"] for row in listed] == [2, 1]
    assert len({row["digest"] for row in listed}) == 2
    assert api.done(api.get("/api/workflows/triage/versions/1"))["definition"].get("description") is None
    assert api.get("/api/workflows/triage/versions/3").status_code == 404
    assert api.get("/api/workflows/triage/versions/99999999999999999999").status_code == 404


def test_a_workflow_keeps_its_name(api: Api) -> None:
    api.define(ROUTED)

    refused = api.done(api.put("/api/workflows/triage", variant(name="other")), 422)

    assert refused["errors"][0]["pointer"] == "/name"
    assert api.put("/api/workflows/nobody", variant(name="nobody")).status_code == 404


def test_a_rollback_appends_the_old_content(api: Api) -> None:
    api.define(ROUTED)
    api.done(api.put("/api/workflows/triage", variant(description="new")))

    back = api.done(api.post("/api/workflows/triage/rollback", {"version": 1}))

    assert back["version"] == 3
    listed = api.done(api.get("/api/workflows/triage/versions"))["items"]
    assert listed[0]["digest"] == listed[2]["digest"]
    assert api.post("/api/workflows/triage/rollback", {"version": 9}).status_code == 404
    for wrong in ({}, {"version": "1"}, {"version": True}, {"version": 1.0}, {"version": 0}):
        assert api.post("/api/workflows/triage/rollback", wrong).status_code == 422


def test_a_diff_names_what_changed(api: Api) -> None:
    api.define(ROUTED)
    api.done(api.put("/api/workflows/triage", variant(description="new")))

    found = api.done(api.get("/api/workflows/triage/diff", **{"from": 1, "to": 2}))

    assert set(found) == {"added", "removed", "changed"}
    assert "/description" in str(found["added"])
    assert api.done(api.get("/api/workflows/triage/diff")) == found
    assert api.get("/api/workflows/triage/diff", to=7).status_code == 404
    assert api.get("/api/workflows/triage/diff", to="two").status_code == 422


def test_an_archived_workflow_takes_no_runs_until_it_is_written_again(api: Api) -> None:
    api.define(ROUTED)
    run = api.run("triage", inputs={"amount": 1})

    archived = api.done(api.delete("/api/workflows/triage"))

    assert archived["archived_at"] is not None
    assert api.done(api.delete("/api/workflows/triage")) == archived
    assert api.post("/api/workflows/triage/runs", {"inputs": {"amount": 1}}).status_code == 409
    assert api.post("/api/workflows/triage/rollback", {"version": 1}).status_code == 409
    assert "archived" in api.post("/api/workflows", ROUTED).get_json()["detail"]
    assert api.done(api.get("/api/workflows"))["items"] == []
    assert len(api.done(api.get("/api/workflows", archived="true"))["items"]) == 1
    assert api.get(f"/api/runs/{run['id']}").status_code == 200
    assert api.done(api.put("/api/workflows/triage", ROUTED))["version"] == 1
    assert api.done(api.get("/api/workflows/triage"))["archived_at"] is None
    assert api.post("/api/workflows/triage/runs", {"inputs": {"amount": 1}}).status_code == 202


def test_the_plan_shows_nodes_levels_and_entries(api: Api) -> None:
    api.define(ROUTED)

    plan = api.done(api.get("/api/workflows/triage/plan"))

    assert plan["start_nodes"] == ["intake"]
    assert plan["nodes"]["route"]["dependencies"] == ["intake"]
    assert set(plan["nodes"]["route"]["dependents"]) == {"large", "small"}
    assert plan["levels"][0] == ["intake"]
    assert api.get("/api/workflows/triage/plan", version=2).status_code == 404


def test_the_diagram_is_text(api: Api) -> None:
    api.define(ROUTED)

    drawn = api.get("/api/workflows/triage/mermaid")

    assert drawn.mimetype == "text/plain"
    assert "intake" in drawn.text


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_lists_go_on_from_their_cursor(api: Api) -> None:
    names = [f"w{no}" for no in range(5)]
    for name in names:
        api.define({**DISPATCHED, "name": name})

    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.done(api.get("/api/workflows", **query))
        assert len(page["items"]) <= 2
        seen += [row["name"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == names[::-1]
    first = api.done(api.get("/api/workflows", limit=2))["next_cursor"]
    for query in ({"cursor": first, "archived": "true"}, {"cursor": "zzz"}, {"cursor": "WzEsMl0="}):
        refused = api.done(api.get("/api/workflows", **query), 422)
        assert refused["errors"][0]["pointer"] == "/cursor"
    for limit in (0, 201, "ten", "1_0", "-1"):
        assert api.get("/api/workflows", limit=limit).status_code == 422
    assert api.get("/api/workflows", colour="blue").status_code == 422
