"""Webhooks: signed by the standard, tried eight times, dead-lettered, replayed, each event once an endpoint."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import delete, text
from standardwebhooks import WebhookVerificationError

from models.database import Database
from models.errors import InvalidError, NotFoundError
from models.event import Subscriber
from orchestrator.core.redelivery import JITTER, WAITS
from orchestrator.services import fsck, replaying, webhooks
from orchestrator.services.idempotency import Once
from tests.support import engine as engines
from tests.support.hooked import LONG_AGO, forget_leases, hooked, pass_time
from tests.support.receiver import Receiver
from tests.support.soundness import assert_sound


@pytest.fixture(autouse=True)
def sound(database: Database) -> Iterator[None]:
    """No test leaves an invariant broken."""
    yield
    assert_sound(engines.make(database).deps)


def test_an_event_is_delivered_as_the_standard_says(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url("/a?b=c"), "run.*", "step.completed")
    run_id = found.ours.run("w")
    found.pump()
    bodies = [got.verified(webhook["secret"]) for got in receiver.received]
    assert [body["type"] for body in bodies] == ["run.created", "run.started", "step.completed", "run.completed"]
    last, got = bodies[-1], receiver.received[-1]
    assert last["data"]["run_id"] == run_id
    assert last["data"]["workflow"] == "w"
    assert last["timestamp"] == last["data"]["event"]["at"]
    assert last["data"]["event"]["seq"] == 5 or last["data"]["event"]["seq"] > 3
    assert set(last) == {"type", "timestamp", "data"}
    assert got.path == "/a?b=c"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"] == "celery-orchestrator"
    assert abs(int(got.headers["webhook-timestamp"]) - got.at) <= 2  # real, whatever the virtual clock says
    assert len({each.id for each in receiver.received}) == 4
    assert [each["status"] for each in found.deliveries()] == ["delivered"] * 4
    found.pump()
    assert len(receiver.received) == 4
    assert_sound(found.ours.deps)


def test_what_happens_before_the_first_sweep_is_delivered(database: Database, receiver: Receiver) -> None:
    """The API alone was started: a beat comes when there are events already."""
    found = hooked(database)
    with database.transaction() as session:
        session.execute(delete(Subscriber))
    found.webhook(receiver.url())
    found.ours.run("w")
    found.pump()
    assert [each["status"] for each in found.deliveries()] == ["delivered"]


def test_three_failures_and_a_success_are_four_attempts_at_their_times(
    database: Database, receiver: Receiver
) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url())
    receiver.answer(500, 503, 302, 204)
    found.ours.run("w")
    found.pump()
    for number, wait in enumerate(WAITS[1:4], start=1):
        assert len(receiver.received) == number
        found.clock.now += wait * (1 - JITTER) - 0.01
        found.pump()
        assert len(receiver.received) == number, "too early"
        found.clock.now += 2 * wait * JITTER + 0.02
        found.pump()
        assert len(receiver.received) == number + 1
        assert found.get(webhook)["failures"] == (0 if number == 3 else number + 1)
    for got in receiver.received:
        got.verified(webhook["secret"])
    assert len({got.id for got in receiver.received}) == 1
    (delivery,) = found.deliveries()
    assert (delivery["status"], delivery["tries"], delivery["next_attempt_at"]) == ("delivered", 4, None)
    assert [each["status"] for each in delivery["attempts"]] == ["failed"] * 3 + ["delivered"]
    assert [each["response"]["status"] for each in delivery["attempts"]] == [500, 503, 302, 204]
    assert "redirects are not followed" in delivery["attempts"][2]["error"]["message"]
    assert found.get(webhook)["last_success_at"] is not None


def test_eight_failures_are_a_dead_letter_that_can_be_replayed(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url(), "run.completed", "webhook.*")
    receiver.answer(500)
    found.ours.run("w")
    found.pump()
    for wait in WAITS[1:]:
        pass_time(found, wait)
    attempts = [got for got in receiver.received if b"webhook.dead_lettered" not in got.body]
    assert len(attempts) == 8
    (dead,) = found.deliveries("dead")
    assert len(dead["attempts"]) == 8
    (alert,) = found.told("webhook.dead_lettered")
    assert alert["delivery_id"] == dead["id"]
    assert alert["error"] == "the receiver answered 500"
    found.sweep()  # the alert itself goes out too
    receiver.answer(200)
    replaying.replay(found.ours.deps, found.ours.actor, webhook["id"], dead["id"], Once())
    found.clock.now += 1
    found.pump()
    assert found.deliveries("dead") == []
    assert [got.id for got in receiver.received if b"webhook.dead_lettered" not in got.body] == [dead["id"]] * 9
    assert [each["number"] for each in found.deliveries("delivered")[-1]["attempts"]] == list(range(1, 10))


def test_a_dead_letter_about_a_dead_letter_alerts_nobody(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    found.webhook(receiver.url(), "*")
    receiver.answer(500)
    found.ours.run("w")
    found.pump()
    for wait in [*WAITS[1:]] * 3:
        found.clock.now += wait * (1 + JITTER) + 1
        found.pump()
    dead = found.deliveries("dead")
    runs = [each for each in dead if each["run_id"]]
    assert len(found.told("webhook.dead_lettered")) == len(runs) > 0
    assert len(dead) <= 2 * len(runs) + len(found.told("webhook.disabled"))


def test_retry_after_puts_an_attempt_off(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    found.webhook(receiver.url())
    receiver.answer(429, headers={"Retry-After": "60"})
    found.ours.run("w")
    found.pump()
    found.clock.now += 59
    assert found.pump() == 0
    found.clock.now += 2
    assert found.pump() == 1


def test_both_secrets_sign_through_the_grace(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url())
    rotated = webhooks.rotate_secret(
        found.ours.deps, found.ours.actor, webhook["id"], {"grace_seconds": 3600}, Once()
    )
    found.ours.run("w")
    found.pump()
    (got,) = receiver.received
    assert len(got.headers["webhook-signature"].split(" ")) == 2
    for secret in (webhook["secret"], rotated["secret"]):
        got.verified(secret)
    rotated = webhooks.rotate_secret(found.ours.deps, found.ours.actor, webhook["id"], {"grace_seconds": 0}, Once())
    found.ours.run("w")
    found.pump()
    receiver.received[1].verified(rotated["secret"])
    with pytest.raises(WebhookVerificationError):
        receiver.received[1].verified(webhook["secret"])


def test_a_secret_of_ones_own(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert found.webhook(receiver.url(), secret=own)["secret"] == own
    found.ours.run("w")
    found.pump()
    receiver.received[0].verified(own)


NO_SECRETS = ["", "whsec_", "whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?" + "a" * 40]


@pytest.mark.parametrize("secret", NO_SECRETS)
def test_what_is_no_secret_is_refused(database: Database, receiver: Receiver, secret: str) -> None:
    found = hooked(database)
    with pytest.raises(InvalidError) as caught:
        found.webhook(receiver.url(), secret=secret)
    assert caught.value.problems[0].pointer == "/secret"


def test_a_repeat_by_its_key_shows_the_same_secret_which_is_stored_nowhere(
    database: Database, receiver: Receiver
) -> None:
    found = hooked(database)
    body = {"url": receiver.url(), "events": ["*"], "description": ""}

    def once() -> Once:
        return Once(workspace_id=found.ours.actor.workspace_id, key="k", digest="d", status=201)

    made = webhooks.create(found.ours.deps, found.ours.actor, body, once())
    assert webhooks.create(found.ours.deps, found.ours.actor, body, once()) == made
    assert "secret" not in found.get(made)
    with database.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT body FROM idempotent_answer").scalar_one()
        stored = connection.exec_driver_sql("SELECT secret FROM webhook").scalar_one()
    assert made["secret"] not in kept + stored


def test_a_webhook_gets_only_what_it_asks_for_from_when_it_was_made(
    database: Database, receiver: Receiver
) -> None:
    found = hooked(database)
    found.ours.run("w")
    found.webhook(receiver.url("/runs"), "run.completed")
    found.webhook(receiver.url("/nothing"), "agent.*")
    found.webhook(receiver.url("/steps"), "step.*")
    found.ours.run("w")
    found.pump()
    assert sorted((got.path, json.loads(got.body)["type"]) for got in receiver.received) == [
        ("/runs", "run.completed"),
        ("/steps", "step.completed"),
    ]


def test_own_events_are_delivered(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    node = {"id": "tell", "type": "emit", "event": "deal.signed", "data": {"n": "{{inputs.n}}"}}
    found.ours.publish({"name": "told", "nodes": [node], "edges": []})
    webhook = found.webhook(receiver.url(), "deal.*")
    found.ours.run("told", inputs={"n": 7})
    found.pump()
    (got,) = receiver.received
    body = got.verified(webhook["secret"])
    assert body["type"] == "deal.signed"
    assert body["data"]["event"]["data"] == {"n": 7}
    assert body["data"]["event"]["step"] == "tell"


def test_other_workspaces_see_nothing(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url(), "*")
    other = found.elsewhere()
    mine = other.webhook(receiver.url("/other"), "*")
    other.ours.publish({"name": "theirs", "nodes": [{"id": "only", "type": "noop"}], "edges": []})
    found.ours.run("w")
    found.pump()
    assert {got.path for got in receiver.received} == {"/hook"}
    for act in (
        lambda: other.get(webhook),
        lambda: other.change(webhook, enabled=False),
        lambda: webhooks.remove(other.ours.deps, other.ours.actor, webhook["id"], Once()),
        lambda: webhooks.test(other.ours.deps, other.ours.actor, webhook["id"], Once()),
        lambda: replaying.replay_missing(other.ours.deps, other.ours.actor, webhook["id"], LONG_AGO, Once()),
    ):
        with pytest.raises(NotFoundError):
            act()
    assert other.deliveries() == []
    assert other.get(mine)["enabled"]


def test_what_comes_back_is_kept_cut(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    found.webhook(receiver.url())
    receiver.answer(500, headers={"X-Odd": "v"}, body=b"\x00\xff" + b"x" * 100_000)
    found.ours.run("w")
    found.pump()
    (attempt,) = found.deliveries()[0]["attempts"]
    assert len(attempt["response"]["body"]) <= 4096
    assert "\x00" not in attempt["response"]["body"]
    assert attempt["response"]["headers"]["x-odd"] == "v"
    assert attempt["request"]["headers"]["webhook-signature"] == "***"


def test_a_receiver_that_is_not_there_is_a_failed_attempt(database: Database) -> None:
    found = hooked(database)
    found.webhook("http://127.0.0.1:9/")
    found.ours.run("w")
    found.pump()
    (delivery,) = found.deliveries("pending")
    assert delivery["attempts"][0]["error"]["code"] == "NETWORK"
    assert delivery["next_attempt_at"] is not None


def test_a_test_is_sent_whatever_the_webhook_asks_for(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url(), "agent.online")
    webhooks.test(found.ours.deps, found.ours.actor, webhook["id"], Once())
    found.pump()
    assert receiver.received[0].verified(webhook["secret"])["type"] == "webhook.test"


def test_without_webhooks_the_journal_is_passed_over(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    for _ in range(5):
        found.ours.run("w")
    found.sweep()
    found.webhook(receiver.url(), "*")
    found.pump()
    assert found.deliveries() == []


def test_fsck_finds_what_never_ends(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    found.webhook(receiver.url())
    found.ours.run("w")
    found.sweep()
    forget_leases(found)
    assert [each.invariant for each in fsck.check_all(found.ours.deps)] == [15]
    receiver.answer(500)
    found.pump()
    assert_sound(found.ours.deps)
    with database.transaction() as session:
        session.execute(text("UPDATE webhook SET enabled = false"))
    assert ["gone or disabled" in each.message for each in fsck.check_all(found.ours.deps)] == [True]
    with database.transaction() as session:
        session.execute(text("UPDATE webhook SET enabled = true"))
