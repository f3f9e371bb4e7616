"""Webhooks that are disabled, by people or by what comes back, and removed; what they missed is sent later."""

from collections.abc import Iterator

import pytest

from models.database import Database
from models.errors import ConflictError
from orchestrator.services import replaying, webhooks
from orchestrator.services.idempotency import Once
from tests.support import engine as engines
from tests.support.hooked import LONG_AGO, forget_leases, hooked
from tests.support.receiver import Receiver
from tests.support.soundness import assert_sound


@pytest.fixture(autouse=True)
def sound(database: Database) -> Iterator[None]:
    """No test leaves an invariant broken."""
    yield
    assert_sound(engines.make(database).deps)


def test_a_disabled_webhook_gets_nothing_and_what_waits_is_stopped(
    database: Database, receiver: Receiver
) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url())
    receiver.answer(500)
    found.ours.run("w")
    found.pump()
    found.change(webhook, enabled=False)
    assert [each["status"] for each in found.deliveries()] == ["stopped"]
    found.ours.run("w")
    found.clock.now += 10
    assert found.pump() == 0
    with pytest.raises(ConflictError):
        replaying.replay_missing(found.ours.deps, found.ours.actor, webhook["id"], LONG_AGO, Once())
    found.change(webhook, enabled=True)
    receiver.answer(200)
    found.ours.run("w")
    found.pump()
    assert len(receiver.received) == 2
    given = replaying.replay_missing(found.ours.deps, found.ours.actor, webhook["id"], LONG_AGO, Once())
    assert given == {"replayed": 1, "noted": 1, "complete": True}
    found.pump()
    assert [each["status"] for each in found.deliveries()] == ["delivered"] * 3
    given = replaying.replay_missing(found.ours.deps, found.ours.actor, webhook["id"], LONG_AGO, Once())
    assert given == {"replayed": 0, "noted": 0, "complete": True}


def test_all_that_enabled_webhooks_missed_is_sent_again(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    first, second, third = (found.webhook(receiver.url(f"/{name}")) for name in ("a", "b", "c"))
    receiver.answer(500)
    found.ours.run("w")
    found.pump()
    for webhook in (first, second, third):
        found.change(webhook, enabled=False)
    for webhook in (first, second):
        found.change(webhook, enabled=True)
    receiver.answer(200)
    given = replaying.replay_missing(found.ours.deps, found.ours.actor, None, LONG_AGO, Once())
    assert given == {"replayed": 2, "noted": 0, "complete": True}
    found.pump()
    assert sorted(each["status"] for each in found.deliveries()) == ["delivered", "delivered", "stopped"]


def test_removing_a_webhook_stops_what_waits(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url())
    found.ours.run("w")
    found.sweep()  # one is taken, and nobody has begun
    webhooks.remove(found.ours.deps, found.ours.actor, webhook["id"], Once())
    found.carry()
    assert receiver.received == []
    forget_leases(found)
    found.sweep()
    assert [each["status"] for each in found.deliveries()] == ["stopped"]


def test_410_disables_the_webhook(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url())
    receiver.answer(410)
    for _ in range(8):
        found.ours.run("w")
    found.pump()
    after = found.get(webhook)
    assert (after["enabled"], after["disabled_reason"]) == (False, "the receiver answered 410 Gone")
    assert {each["status"] for each in found.deliveries()} == {"stopped"}
    assert [each["webhook_id"] for each in found.told("webhook.disabled")] == [webhook["id"]]


def test_five_days_of_nothing_but_failures_disable_a_webhook(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url())
    receiver.answer(500)
    for day in range(6):
        assert found.get(webhook)["enabled"], day
        found.ours.run("w")
        found.pump()
        found.clock.now += 86_400 + 3_600
    found.pump()
    assert not found.get(webhook)["enabled"]
    assert "5 days" in found.get(webhook)["disabled_reason"]
    assert found.deliveries("pending", "sending") == []


def test_a_success_in_between_forgives_all(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url())
    for status in (500, 200, 500, 500):
        receiver.answer(status)
        found.ours.run("w")
        found.pump()
        found.clock.now += 4 * 86_400
    assert found.get(webhook)["enabled"]
