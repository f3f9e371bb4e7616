"""The audit log over HTTP: every change leaves one row, a repeat none, a refusal none; read, filtered, exported."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.core.audit import GENESIS, link
from orchestrator.services import auditing
from tests.api.acts import ACTS, NOOP, SILENT, ran
from tests.api.conftest import Api
from tests.support.programs import ROOT
from tests.support.soundness import assert_sound

READING = ("GET", "HEAD", "OPTIONS")


def acts(api: Api, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.done(api.get("/api/audit", **{"limit": 200, **query}))["items"]
    return found


def writing(api: Api) -> Iterator[str]:
    for rule in api.app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - set(READING)):
            yield f"{method} {rule.rule}"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_every_route_that_writes_is_known(api: Api) -> None:
    assert sorted(writing(api)) == sorted([*ACTS, *SILENT])


def test_every_action_is_documented() -> None:
    actions = set(re.findall(r'action="([a-z_.]+)"', (ROOT / "tests/api/acts.py").read_text()))
    text = (ROOT / "docs/audit.md").read_text()
    assert [action for action in sorted(actions) if f"`{action}`" not in text] == []


@pytest.mark.parametrize("route", ACTS)
def test_a_change_leaves_one_row_and_its_repeat_none(api: Api, route: str) -> None:
    act = ACTS[route](api)
    method = route.split()[0]
    before = acts(api)
    first = api.call(method, act.path, json=act.body, headers={"Idempotency-Key": "once"})
    assert first.status_code < 300, first.text
    row, *others = acts(api)
    assert others == before
    assert row["action"] == act.action
    assert row["reason"] == act.reason
    assert row["source"] == "127.0.0.1"
    assert row["target"].startswith(row["action"].partition(".")[0])
    assert row["before"] or row["after"]
    assert row["before"] != row["after"]
    assert row["actor"] == act.actor
    assert "secret" not in json.dumps(row).replace("previous_secret_until", "").replace("has_secret", "")
    if act.replays:
        again = api.call(method, act.path, json=act.body, headers={"Idempotency-Key": "once"})
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(acts(api)) == len(before) + 1
    assert_sound(api.engine.deps)


def test_what_changes_nothing_or_is_refused_leaves_no_row(api: Api) -> None:
    run = ran(api, {"name": "waits", "nodes": [{"id": "a", "type": "approval"}]})
    api.done(api.post(f"{run}/pause"))
    api.done(api.post(f"{run}/abort"))
    api.done(api.delete("/api/workflows/waits"))
    key = api.done(api.post("/api/keys", {"name": "k", "scopes": ["read"]}), 201)["id"]
    api.done(api.delete(f"/api/keys/{key}"))
    api.define(NOOP)
    before = acts(api)
    for method, path, body, status in (
        ("POST", f"{run}/abort", {}, 200),
        ("DELETE", "/api/workflows/waits", {}, 200),
        ("DELETE", f"/api/keys/{key}", {}, 200),
        ("PUT", "/api/workflows/plain", NOOP, 200),
        ("POST", "/api/workflows", NOOP, 409),
        ("POST", f"{run}/pause", {}, 409),
        ("POST", f"{run}/steps/a/retry", {}, 409),
        ("POST", "/api/workflows/plain/runs", {"inputs": 1}, 422),
        ("POST", "/api/workflows/none/runs", {}, 404),
        ("POST", "/api/keys", {"name": "k", "scopes": ["all"]}, 422),
    ):
        assert api.call(method, path, json=body).status_code == status, path
    assert acts(api) == before


def test_rows_show_what_has_changed(api: Api) -> None:
    api.done(api.put("/api/pools/gpu", {"size": 2}))
    api.done(api.put("/api/pools/gpu", {"size": 3}))
    api.done(api.delete("/api/pools/gpu"))
    gone, resized, made = acts(api, target="pool:gpu")
    assert made["changes"] == [{"field": "size", "from": None, "to": 2}]
    assert resized["changes"] == [{"field": "size", "from": 2, "to": 3}]
    assert gone["changes"] == [{"field": "size", "from": 3, "to": None}]
    assert (made["before"], gone["after"]) == (None, None)
    assert (made["after"], resized["after"]) == (resized["before"], gone["before"])


def test_rows_are_filtered_and_paged(api: Api) -> None:
    other = api.with_key("operate", "define")
    run = ran(api, NOOP).rpartition("/")[2]
    other.define({**NOOP, "name": "other"})
    other.done(other.post(f"/api/runs/{run}/steps/a/rerun"))
    key = api.done(api.get("/api/keys"))["items"][0]["id"]

    def wanted(**query: Any) -> list[str]:
        return [row["action"] for row in acts(api, **query)]

    assert wanted(actor="operate-define") == ["step.rerun", "workflow.create"]
    assert wanted(actor=key) == wanted(actor="operate-define")
    assert wanted(action="run.create") == ["run.create"]
    assert wanted(action="run.*") == ["run.create"]
    assert wanted(target=f"step:{run}/*") == ["step.rerun"]
    assert wanted(target=f"run:{run}", actor="nobody") == []
    assert wanted(target="run:%") == []
    whole = acts(api)
    assert wanted(after=whole[1]["at"]) == [row["action"] for row in whole[:2]]
    assert wanted(before=whole[1]["at"]) == [row["action"] for row in whole[2:]]
    page = api.done(api.get("/api/audit", limit=2))
    rest = api.done(api.get("/api/audit", limit=200, cursor=page["next_cursor"]))
    assert page["items"] + rest["items"] == whole
    assert api.get("/api/audit", cursor=page["next_cursor"], actor="x").status_code == 422
    assert api.get("/api/audit", after="yesterday").status_code == 422


def test_another_workspace_has_a_log_of_its_own(api: Api) -> None:
    ran(api, NOOP)
    elsewhere = api.elsewhere()
    assert [row["action"] for row in acts(elsewhere)] == ["key.create"]  # its first key: made by an operator
    elsewhere.define(NOOP)
    assert [row["action"] for row in acts(elsewhere)] == ["workflow.create", "key.create"]
    assert all(row["workspace_id"] != acts(elsewhere)[0]["workspace_id"] for row in acts(api))
    assert api.with_key("operate").get("/api/audit").status_code == 403
    assert api.without_key().get("/api/audit").status_code == 401


def test_a_row_shows_its_link(api: Api) -> None:
    ran(api, NOOP)
    assert {row["seal"] for row in acts(api)} == {None}
    auditing.seal(api.engine.deps)
    previous = GENESIS
    for position, row in enumerate(reversed(acts(api)), 1):
        seal = row.pop("seal")
        assert seal == {"position": position, "digest": link(previous, row), "previous": previous}
        previous = seal["digest"]


def test_all_rows_are_exported(api: Api) -> None:
    api.with_key("read")
    api.done(api.post("/api/keys", {"name": "=1+1", "scopes": ["define"]}), 201)
    run = ran(api, NOOP)
    api.done(api.post(f"{run}/fork", {"from_step": "a", "reason": '=HYPERLINK("x")'}), 202)
    auditing.seal(api.engine.deps)
    whole = acts(api)

    lines = api.get("/api/audit", format="jsonl")
    assert lines.content_type == "application/jsonl; charset=utf-8"
    assert [json.loads(line) for line in lines.text.splitlines()] == whole

    table = api.get("/api/audit", format="csv")
    assert table.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert [row["id"] for row in rows] == [row["id"] for row in whole]
    assert rows[0]["reason"] == "'=HYPERLINK(\"x\")"
    assert rows[0]["position"] == str(whole[0]["seal"]["position"])
    assert json.loads(rows[0]["changes"]) == whole[0]["changes"]
    assert len(api.get("/api/audit", format="csv", action="key.*").text.splitlines()) == 4
    assert api.get("/api/audit", format="csv", limit=2).status_code == 422
    assert api.get("/api/audit", format="xml").status_code == 422
