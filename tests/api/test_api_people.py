"""Approvals, links to them, signals and pauses, as callers have them."""

from typing import Any

import pytest

from orchestrator.services import sweeps
from tests.api.conftest import Api
from tests.support.soundness import assert_sound

FORM = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}
ASKING = {
    "name": "asking",
    "nodes": [
        {"id": "ask", "type": "approval", "title": "Pay it?", "form": FORM, "assignees": ["ada"], "expires": "7d"},
        {"id": "pay", "type": "transform", "expression": '{"paid": data.amount}'},
    ],
    "edges": ["ask >> pay"],
}
LISTENING = {
    "name": "listening",
    "nodes": [{"id": "wait", "type": "signal", "signal": "signed", "key": "{{inputs.envelope}}", "schema": FORM}],
}


def waiting(api: Api) -> tuple[str, str]:
    """A run that waits for an approval: its id and the approval's."""
    api.define(ASKING)
    run = api.run("asking")["id"]
    (found,) = api.done(api.get("/api/approvals", run=run))["items"]
    return run, found["id"]


def ended(api: Api, run: str, status: str = "success") -> dict[str, Any]:
    api.engine.drain()
    found: dict[str, Any] = api.done(api.get(f"/api/runs/{run}"))
    assert found["status"] == status, found
    assert_sound(api.engine.deps)
    return found


def test_the_inbox_and_a_vote(api: Api) -> None:
    run, approval = waiting(api)
    found = api.done(api.get(f"/api/approvals/{approval}"))
    assert (found["run_id"], found["workflow"], found["step"]) == (run, "asking", "ask")
    assert (found["title"], found["form"], found["assignees"]) == ("Pay it?", FORM, ["ada"])
    assert (found["required"], found["on_expiry"], found["status"]) == (1, "reject", "pending")
    assert found["expires_at"] > found["requested_at"]
    step = api.done(api.get(f"/api/runs/{run}/steps/ask"))
    assert step["waiting_for"].startswith(f"approval {approval}: Pay it?, due at ")
    refused = api.post(f"/api/approvals/{approval}/approve", {"data": {"amount": "x"}})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.get_json()["errors"]] == ["/data/amount"]
    operator = api.with_key("operate")
    sent = {"comment": "fine", "data": {"amount": 7}}
    answer = api.done(operator.post(f"/api/approvals/{approval}/approve", sent))
    assert (answer["status"], answer["decision"], answer["votes"][0]["by"]) == ("approved", "approved", "operate")
    assert operator.post(f"/api/approvals/{approval}/approve", sent).status_code == 409
    assert api.post(f"/api/approvals/{approval}/reject").status_code == 409
    assert api.done(api.get("/api/approvals"))["items"] == []
    assert len(api.done(api.get("/api/approvals", status="all", assignee="ada"))["items"]) == 1
    assert ended(api, run)["outputs"] == {"pay": {"paid": 7}}


def test_a_rejection_fails_the_run(api: Api) -> None:
    run, approval = waiting(api)
    answer = api.done(api.post(f"/api/approvals/{approval}/reject", {"comment": "no"}))
    assert (answer["status"], answer["decision"]) == ("rejected", "rejected")
    assert ended(api, run, "failed")["error"]["code"] == "REJECTED"


def test_the_same_call_again_gets_the_same_answer(api: Api) -> None:
    run, approval = waiting(api)
    calls = [
        api.post(
            f"/api/approvals/{approval}/approve",
            {"data": {"amount": 1}},
            headers={"Idempotency-Key": "vote"},
        )
        for _ in range(2)
    ]
    assert [call.status_code for call in calls] == [200, 200]
    assert calls[0].get_json() == calls[1].get_json()
    assert calls[1].headers["Idempotent-Replayed"] == "true"
    ended(api, run)


def test_the_inbox_has_pages_and_filters(api: Api) -> None:
    api.define(ASKING)
    runs = [api.run("asking")["id"] for _ in range(3)]
    first = api.done(api.get("/api/approvals", limit=2))
    rest = api.done(api.get("/api/approvals", limit=2, cursor=first["next_cursor"]))
    assert [row["run_id"] for row in first["items"] + rest["items"]] == runs[::-1]
    assert rest["next_cursor"] is None
    assert api.get("/api/approvals", status="open").status_code == 422
    assert api.get("/api/approvals", cursor=first["next_cursor"], assignee="ada").status_code == 422
    assert api.done(api.get("/api/approvals", run="nonsense"))["items"] == []
    api.done(api.post(f"/api/runs/{runs[0]}/abort"))
    assert [row["run_id"] for row in api.done(api.get("/api/approvals", status="closed"))["items"]] == runs[:1]


def test_another_workspace_has_another_inbox(api: Api) -> None:
    _, approval = waiting(api)
    elsewhere = api.elsewhere()
    assert elsewhere.done(elsewhere.get("/api/approvals", status="all"))["items"] == []
    assert elsewhere.get(f"/api/approvals/{approval}").status_code == 404
    assert elsewhere.post(f"/api/approvals/{approval}/approve").status_code == 404
    assert elsewhere.post(f"/api/approvals/{approval}/links", {"name": "eve"}).status_code == 404


def test_a_link_votes_once_without_a_key(api: Api) -> None:
    run, approval = waiting(api)
    options = {"headers": {"Idempotency-Key": "link"}}
    made, again = (
        api.done(api.post(f"/api/approvals/{approval}/links", {"name": "ada@example.com"}, **options), 201)
        for _ in range(2)
    )
    assert made == again
    assert (made["approval_id"], made["name"]) == (approval, "ada@example.com")
    nobody, path = api.without_key(), f"/api/approval-links/{made['token']}"
    for _ in range(2):  # reading decides nothing, however often a mail scanner does it
        asked = api.done(nobody.get(path))
        assert (asked["title"], asked["status"], asked["voted"]) == ("Pay it?", "pending", False)
    assert nobody.post(f"{path}/approve", {"data": {}}).status_code == 422
    assert api.done(nobody.post(f"{path}/approve", {"data": {"amount": 3}})) == {"status": "approved"}
    assert nobody.post(f"{path}/reject").status_code == 409
    assert api.done(nobody.get(path))["voted"] is True
    (vote,) = api.done(api.get(f"/api/approvals/{approval}"))["votes"]
    assert (vote["by"], vote["decision"]) == ("ada@example.com", "approved")
    assert api.post(f"/api/approvals/{approval}/links", {"name": "bob"}).status_code == 409
    log = api.done(api.get(f"/api/runs/{run}/events"))["items"]
    assert all(made["token"] not in str(event) for event in log)
    assert ended(api, run)["outputs"] == {"pay": {"paid": 3}}


def test_a_link_can_reject(api: Api) -> None:
    run, approval = waiting(api)
    made = api.done(api.post(f"/api/approvals/{approval}/links", {"name": "ada"}), 201)
    nobody = api.without_key()
    sent = {"comment": "no"}
    assert api.done(nobody.post(f"/api/approval-links/{made['token']}/reject", sent)) == {"status": "rejected"}
    ended(api, run, "failed")


@pytest.mark.parametrize("change", ["cut", "name", "mac", "text", "nothing"])
def test_a_token_that_we_did_not_sign_is_none(api: Api, change: str) -> None:
    run, approval = waiting(api)
    made = api.done(api.post(f"/api/approvals/{approval}/links", {"name": "ada"}), 201)
    said, _, mac = made["token"].partition(".")
    forged = {
        "cut": made["token"][:-2],
        "name": f"{said[:-4]}AAAA.{mac}",
        "mac": f"{said}.{mac[::-1]}",
        "text": "ünknown.token",
        "nothing": ".",
    }[change]
    nobody = api.without_key()
    assert nobody.get(f"/api/approval-links/{forged}").status_code == 404
    assert nobody.post(f"/api/approval-links/{forged}/reject").status_code == 404
    assert api.done(api.get(f"/api/approvals/{approval}"))["status"] == "pending"
    api.done(api.post(f"/api/approvals/{approval}/reject"))
    ended(api, run, "failed")


def test_a_signal_to_a_run(api: Api) -> None:
    api.define(LISTENING)
    run = api.run("listening", inputs={"envelope": "e-1"})["id"]
    refused = api.post(f"/api/runs/{run}/signal", {"signal": "signed", "data": {}})
    assert (refused.status_code, refused.get_json()["errors"][0]["pointer"]) == (422, "/data/amount")
    assert api.post(f"/api/runs/{run}/signal", {"data": {}}).status_code == 422
    sent = {"signal": "signed", "data": {"amount": 1}, "id": "n-1"}
    answer = api.done(api.post(f"/api/runs/{run}/signal", sent))
    assert (answer["id"], answer["status"]) == (run, "success")
    assert ended(api, run)["outputs"] == {"wait": {"amount": 1}}
    assert api.done(api.post(f"/api/runs/{run}/signal", sent))["id"] == run
    assert api.post(f"/api/runs/{run}/signal", {**sent, "id": "n-2"}).status_code == 409
    assert api.post("/api/runs/nonsense/signal", sent).status_code == 404


def test_a_signal_to_who_waits_for_its_key(api: Api) -> None:
    api.define(LISTENING)
    sent = {"signal": "signed", "key": "e-1", "data": {"amount": 2}}
    assert api.done(api.post("/api/signals", sent))["run_id"] is None
    early = api.run("listening", inputs={"envelope": "e-1"})["id"]
    for timer in api.engine.timers:
        api.engine.send(sweeps.wake(api.engine.deps, timer))
    ended(api, early)
    late = api.run("listening", inputs={"envelope": "e-1"})["id"]
    assert api.post("/api/signals", {**sent, "data": 7}).status_code == 422
    answer = api.done(api.post("/api/signals", sent))
    assert (answer["run_id"], answer["step"]) == (late, "wait")
    ended(api, late)


def test_a_pause_is_resumed_with_what_it_expects(api: Api) -> None:
    api.define({"name": "pausing", "nodes": [{"id": "stop", "type": "pause", "expected_input": FORM}]})
    run = api.run("pausing")
    assert run["status"] == "paused"
    refused = api.post(f"/api/runs/{run['id']}/resume", {"input": {"amount": "x"}})
    assert (refused.status_code, refused.get_json()["errors"][0]["pointer"]) == (422, "/input/amount")
    api.done(api.post(f"/api/runs/{run['id']}/resume", {"input": {"amount": 1}}))
    assert ended(api, run["id"])["outputs"] == {"stop": {"amount": 1}}
