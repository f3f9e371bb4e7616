"""Several that note and send at once, messages that are lost, workers that die, receivers that are slow."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from models.database import Database
from models.queries import deliveries as rows
from orchestrator.services import delivering
from tests.support import engine as engines
from tests.support.hooked import forget_leases, hooked
from tests.support.polling import poll
from tests.support.receiver import Receiver
from tests.support.soundness import assert_sound


@pytest.fixture(autouse=True)
def sound(database: Database) -> Iterator[None]:
    """No test leaves an invariant broken."""
    yield
    assert_sound(engines.make(database).deps)


def test_two_sweeps_at_once_note_and_send_once(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    found.webhook(receiver.url(), "*")
    for _ in range(20):
        found.ours.run("w")
    threads = [threading.Thread(target=found.sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while found.pump() or found.deliveries("pending", "sending"):
        pass
    ids = [got.id for got in receiver.received]
    assert len(ids) == len(set(ids)) == len(found.deliveries())
    assert len(ids) >= 20 * 4


def test_a_lost_message_is_sent_again_and_a_late_one_is_not_taken(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    found.webhook(receiver.url())
    found.ours.run("w")
    found.sweep()
    late = found.ours.deliveries.pop()
    forget_leases(found)
    found.sweep()
    delivering.carry(found.ours.deps, late.delivery_id, late.attempt)
    assert receiver.received == []
    found.carry()
    assert len(receiver.received) == 1
    delivering.carry(found.ours.deps, late.delivery_id, late.attempt)
    assert len(receiver.received) == 1


def test_a_worker_that_died_after_the_post_sends_it_again_under_the_same_id(
    database: Database, receiver: Receiver
) -> None:
    found = hooked(database)
    found.webhook(receiver.url())
    found.ours.run("w")
    found.sweep()
    effect = found.ours.deliveries.pop()
    until = datetime.now(UTC) + timedelta(seconds=30)
    with database.transaction() as session:
        taken = rows.Taken(id=effect.delivery_id, attempt=effect.attempt)
        assert rows.claim(session, taken, until) is not None
    forget_leases(found)
    assert found.pump() == 1
    (delivery,) = found.deliveries()
    assert [each["status"] for each in delivery["attempts"]] == ["lost", "delivered"]
    assert (delivery["status"], delivery["tries"]) == ("delivered", 1)


def test_many_webhooks_that_have_all_they_may_hide_no_other(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep looks at so many webhooks: those whose places are all taken are not among them."""
    monkeypatch.setattr(delivering, "BATCH", 1)
    found = hooked(database)
    first = found.webhook(receiver.url("/first"))
    for _ in range(delivering.AT_ONCE + 1):
        found.ours.run("w")
    for _ in range(2):
        found.sweep()
    assert len(found.deliveries("sending", webhook=first)) == delivering.AT_ONCE
    second = found.webhook(receiver.url("/second"))
    found.ours.run("w")
    found.sweep()
    assert len(found.deliveries("sending", webhook=second)) == 1
    while found.carry():
        found.sweep()


def test_a_slow_receiver_holds_up_no_other(
    database: Database, receivers: Callable[[], Receiver]
) -> None:
    slow, quick = receivers(), receivers()
    slow.held = threading.Event()
    found = hooked(database)
    found.webhook(slow.url())
    found.webhook(quick.url())
    for _ in range(12):
        found.ours.run("w")
    found.sweep()
    taken, found.ours.deliveries = found.ours.deliveries, []
    assert len(taken) == 10  # five of each
    threads = [
        threading.Thread(target=delivering.carry, args=(found.ours.deps, each.delivery_id, each.attempt), daemon=True)
        for each in taken
    ]
    for thread in threads:
        thread.start()
    quick.came(12)
    found.sweep()
    assert found.ours.deliveries == []
    poll(lambda: len(slow.received) == 5, 10, "five POSTs that hang")
    slow.held.set()
    slow.came(12)
    for thread in threads:
        thread.join(30)
    assert slow.most_at_once == 5
    assert {each["status"] for each in found.deliveries()} == {"delivered"}
