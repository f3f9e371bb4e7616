"""`/api/webhooks`: kept, tried out, replayed; secrets are shown once, other workspaces see nothing."""

from dataclasses import replace
from typing import Any

import pytest

from models.queries import audit
from orchestrator.services import delivering, sweeps
from orchestrator.settings import Settings
from tests.api.conftest import ROUTED, Api
from tests.support.polling import poll
from tests.support.receiver import Receiver

LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def api_settings(api_settings: Settings) -> Settings:
    return replace(api_settings, http_allow=("127.0.0.1",))


def make(api: Api, receiver: Receiver, answers: int = 201, **fields: Any) -> Any:
    body = {"url": receiver.url(), "events": ["run.*"], "description": "crm", **fields}
    return api.done(api.post("/api/webhooks", body), answers)


def pump(api: Api) -> None:
    api.engine.send(sweeps.run(api.engine.deps, "webhooks").effects)
    taken, api.engine.deliveries = api.engine.deliveries, []
    for effect in taken:
        delivering.carry(api.engine.deps, effect.delivery_id, effect.attempt)


def delivered(api: Api, made: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.done(api.get(f"/api/webhooks/{made['id']}/deliveries", **query))["items"]
    return found


def test_a_webhook_is_made_read_changed_and_removed(api: Api, receiver: Receiver) -> None:
    made = make(api, receiver)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["enabled"]
    assert api.done(api.get(f"/api/webhooks/{made['id']}")) == made
    assert api.done(api.get("/api/webhooks"))["items"] == [made]
    patch = {"events": ["step.failed"], "description": "", "enabled": False}
    changed = api.done(api.patch(f"/api/webhooks/{made['id']}", patch))
    assert {name: changed[name] for name in patch} == patch
    assert changed["disabled_at"] is not None
    assert api.done(api.delete(f"/api/webhooks/{made['id']}"))["id"] == made["id"]
    assert api.get(f"/api/webhooks/{made['id']}").status_code == 404
    with api.engine.deps.db.read() as session:
        acts = [row.action for row in audit.unsealed(session, 100) if row.action.startswith("webhook.")]
    assert acts == ["webhook.create", "webhook.update", "webhook.delete"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "http://169.254.169.254/latest/"}, "/url"),
        ({"url": "ftp://example.com/"}, "/url"),
        ({"url": "http://no-such-name.invalid/"}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["*", "Run.*"]}, "/events/1"),
        ({"events": ["run.*.x"]}, "/events/0"),
        ({"secret": "whsec_short"}, "/secret"),
        ({"name": "x"}, "/name"),
    ],
)
def test_what_is_refused(api: Api, receiver: Receiver, fields: dict[str, Any], pointer: str) -> None:
    assert make(api, receiver, 422, **fields)["errors"][0]["pointer"] == pointer
    assert api.done(api.get("/api/webhooks"))["items"] == []


def test_a_repeat_shows_the_same_secret(api: Api, receiver: Receiver) -> None:
    body = {"url": receiver.url(), "events": ["*"]}
    first, second = (api.post("/api/webhooks", body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.get_json() == second.get_json()
    assert second.headers["Idempotent-Replayed"] == "true"
    path = f"/api/webhooks/{first.get_json()['id']}/rotate-secret"
    first, second = (api.post(path, {"grace_seconds": 60}, headers={"Idempotency-Key": "r"}) for _ in range(2))
    assert api.done(first) == api.done(second)
    assert api.done(first)["previous_secret_until"] is not None


def test_deliveries_are_listed_with_their_attempts_and_replayed(api: Api, receiver: Receiver) -> None:
    made = make(api, receiver, events=["run.completed"])
    pump(api)
    api.define(ROUTED)
    api.run("triage", inputs={"amount": 1})
    receiver.answer(410)

    def sent() -> bool:
        pump(api)
        return len(receiver.received) == 1

    poll(sent, 30, "the first POST")
    (stopped,) = delivered(api, made)
    assert stopped["status"] == "stopped"
    assert stopped["attempts"][0]["response"]["status"] == 410
    path = f"/api/webhooks/{made['id']}/deliveries/{stopped['id']}/replay"
    assert api.post(path).status_code == 409  # the webhook is disabled
    api.done(api.patch(f"/api/webhooks/{made['id']}", {"enabled": True}))
    receiver.answer(200)
    assert api.done(api.post(path))["status"] == "pending"
    assert api.post(path).status_code == 409  # it goes on by itself
    pump(api)
    assert delivered(api, made, status="pending") == []
    (again,) = delivered(api, made, status="delivered")
    assert again["id"] == stopped["id"]
    assert [attempt["number"] for attempt in again["attempts"]] == [1, 2]
    assert receiver.received[1].id == again["id"]
    missed = api.done(api.post(f"/api/webhooks/{made['id']}/replay-missing", {"since": LONG_AGO}))
    assert missed == {"replayed": 0, "noted": 0, "complete": True}
    assert api.done(api.get("/api/webhooks/dead-letters")) == {"items": [], "next_cursor": None}


def test_a_test_is_sent(api: Api, receiver: Receiver) -> None:
    made = make(api, receiver)
    sent = api.done(api.post(f"/api/webhooks/{made['id']}/test"), 202)
    assert (sent["type"], sent["status"]) == ("webhook.test", "pending")
    pump(api)
    assert receiver.received[0].verified(made["secret"])["type"] == "webhook.test"


def test_lists_come_in_pages(api: Api, receiver: Receiver) -> None:
    made = [make(api, receiver)["id"] for _ in range(3)]
    first = api.done(api.get("/api/webhooks", limit=2))
    rest = api.done(api.get("/api/webhooks", limit=2, cursor=first["next_cursor"]))
    assert [item["id"] for item in first["items"] + rest["items"]] == made[::-1]
    for _ in range(3):
        api.done(api.post(f"/api/webhooks/{made[0]}/test"), 202)
    path = f"/api/webhooks/{made[0]}/deliveries"
    page = api.done(api.get(path, limit=2))
    assert len(page["items"]) == 2
    assert len(api.done(api.get(path, limit=2, cursor=page["next_cursor"]))["items"]) == 1
    assert api.get(f"/api/webhooks/{made[1]}/deliveries", cursor=page["next_cursor"]).status_code == 422


def test_scopes_and_workspaces(api: Api, receiver: Receiver) -> None:
    made = make(api, receiver)
    sent = api.done(api.post(f"/api/webhooks/{made['id']}/test"), 202)
    reader, other = api.with_key("read", "operate", "define"), api.elsewhere()
    base = f"/api/webhooks/{made['id']}"
    assert api.done(reader.get(base))["id"] == made["id"]
    reads = ("", "/deliveries")
    writes: list[tuple[str, str, Any]] = [
        ("PATCH", "", {"enabled": False}),
        ("DELETE", "", {}),
        ("POST", "/rotate-secret", {}),
        ("POST", "/test", {}),
        ("POST", f"/deliveries/{sent['id']}/replay", {}),
        ("POST", "/replay-missing", {"since": LONG_AGO}),
    ]
    for path in reads:
        assert other.get(base + path).status_code == 404
    for method, path, body in writes:
        assert reader.call(method, base + path, json=body).status_code == 403
        assert other.call(method, base + path, json=body).status_code == 404
    assert reader.post("/api/webhooks", {"url": receiver.url(), "events": ["*"]}).status_code == 403
    assert other.done(other.get("/api/webhooks"))["items"] == []
    assert other.done(other.get("/api/webhooks/dead-letters"))["items"] == []
