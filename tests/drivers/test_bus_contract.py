"""What every event bus holds: one and the same suite over the four of them, on real servers."""

import json
from dataclasses import replace

import pytest

from models.errors import InvalidError
from orchestrator.bus import DeadLetter, EventBus
from tests.support.buses import Listen, Open, ids, said
from tests.support.polling import poll

MANY = 10_000


def test_messages_come_in_the_order_of_publishing(event_bus: EventBus, listen: Listen, name: str) -> None:
    """Five runs interleaved in batches of every size."""
    listener = listen(name)
    sent = [said(seq, f"r{run}") for seq in range(1, 101) for run in range(5)]
    place = 0
    for size in range(1, 40):
        event_bus.publish(sent[place : place + size])
        place += size
    poll(lambda: len(listener.heard) >= len(sent) or None, 20)
    assert ids(listener.heard) == ids(sent)


def test_a_message_comes_as_it_was_sent(event_bus: EventBus, listen: Listen, name: str) -> None:
    listener = listen(name)
    text = 'ünï ✓ 漢字 \U0001f41d "\\ \n\t \x7f'
    sent = said(1, type_="deal.signed", data={"text": text, "none": None, "n": 1.5})
    event_bus.publish([sent])
    poll(lambda: listener.heard)
    assert listener.heard[0] == sent
    assert listener.heard[0].event["data"] == {"text": text, "none": None, "n": 1.5}


def test_an_event_of_no_run(event_bus: EventBus, listen: Listen, name: str) -> None:
    body = json.dumps({"seq": None, "type": "agent.online", "data": {}, "workspace_id": "w1"})
    sent = replace(said(1), id="event:7", type="agent.online", run_id=None, body=body)
    listener = listen(name)
    event_bus.publish([sent])
    poll(lambda: listener.heard)
    assert listener.heard == [sent]


def test_large_events(event_bus: EventBus, listen: Listen, name: str) -> None:
    listener = listen(name)
    sent = [said(seq, data="x" * size) for seq, size in enumerate((64 << 10, 200 << 10, 500 << 10), 1)]
    event_bus.publish(sent)
    poll(lambda: len(listener.heard) == 3 or None)
    assert listener.heard == sent


@pytest.mark.timeout(120)
def test_ten_thousand_events(event_bus: EventBus, listen: Listen, name: str) -> None:
    listener = listen(name)
    sent = [said(seq, f"r{seq % 7}") for seq in range(1, MANY + 1)]
    for place in range(0, MANY, 500):
        event_bus.publish(sent[place : place + 500])
    poll(lambda: len(listener.heard) >= MANY or None, 90, "all of them")
    assert ids(listener.heard) == ids(sent)


def test_every_subscriber_gets_every_message(event_bus: EventBus, listen: Listen, name: str) -> None:
    listeners = [listen(f"{name}-{number}") for number in range(3)]
    sent = [said(seq) for seq in range(1, 51)]
    event_bus.publish(sent)
    for listener in listeners:
        poll(lambda heard=listener.heard: len(heard) >= 50 or None)  # type: ignore[misc]
        assert ids(listener.heard) == ids(sent)


def test_a_new_subscriber_begins_with_what_is_published_next(
    event_bus: EventBus, listen: Listen, name: str
) -> None:
    event_bus.publish([said(1)])
    listener = listen(name)
    event_bus.publish([said(2)])
    poll(lambda: listener.heard)
    assert ids(listener.heard) == ["r1:2"]


def test_a_subscriber_that_was_away_goes_on(event_bus: EventBus, listen: Listen, name: str) -> None:
    first = listen(name)
    event_bus.publish([said(1), said(2)])
    poll(lambda: len(first.heard) == 2 or None)
    first.end()
    event_bus.publish([said(3), said(4)])
    second = listen(name)
    event_bus.publish([said(5)])
    poll(lambda: len(second.heard) == 3 or None)
    assert ids(second.heard) == ["r1:3", "r1:4", "r1:5"]


def test_of_two_with_one_name_each_message_goes_to_one_in_order(
    bus_url: str, bus_kind: str, event_bus: EventBus, open_bus: Open, listen: Listen, name: str
) -> None:
    """The other one goes on when the one at work ends."""
    other = event_bus if bus_kind == "memory" else open_bus(bus_url)
    order: list[str] = []
    one = listen(name, refuse=lambda message: bool(order.append(message.id)))
    two = listen(name, refuse=lambda message: bool(order.append(message.id)), bus=other)
    event_bus.publish([said(seq) for seq in range(1, 201)])
    poll(lambda: len(order) >= 200 or None)
    (one if one.heard else two).end()
    event_bus.publish([said(seq) for seq in range(201, 301)])
    poll(lambda: len(order) >= 300 or None, 20)
    assert order == ids([said(seq) for seq in range(1, 301)])


def test_types_pick_messages(event_bus: EventBus, listen: Listen, name: str) -> None:
    listener = listen(name, types=("run.*", "step.failed"))
    types = ["run.created", "step.queued", "step.failed", "deal.run.signed", "run.completed"]
    event_bus.publish([said(seq, type_=type_) for seq, type_ in enumerate(types, 1)])
    poll(lambda: len(listener.heard) == 3 or None)
    assert [message.type for message in listener.heard] == ["run.created", "step.failed", "run.completed"]


def test_a_refused_message_is_tried_again_before_all_later_ones(
    event_bus: EventBus, listen: Listen, name: str
) -> None:
    listener = listen(name)
    listener.refuse = lambda message: message.id == "r1:2" and listener.tried.count("r1:2") < 3
    event_bus.publish([said(seq) for seq in range(1, 5)])
    poll(lambda: len(listener.heard) == 4 or None)
    assert listener.tried == ["r1:1", "r1:2", "r1:2", "r1:2", "r1:3", "r1:4"]
    assert event_bus.dead_letters(name) == []


def test_a_message_that_is_refused_for_good_is_a_dead_letter(
    event_bus: EventBus, listen: Listen, name: str
) -> None:
    listener = listen(name, refuse=lambda message: message.id in ("r1:2", "r1:4"))
    other = listen(f"{name}-other")
    sent = [said(seq, data="✓") for seq in range(1, 6)]
    event_bus.publish(sent)
    poll(lambda: len(listener.heard) == 3 or None)
    assert ids(listener.heard) == ["r1:1", "r1:3", "r1:5"]
    assert listener.tried.count("r1:2") == 5
    letters = event_bus.dead_letters(name)
    assert [letter.message for letter in letters] == [sent[1], sent[3]]
    assert [letter.reason for letter in letters] == ["ValueError: not r1:2", "ValueError: not r1:4"]
    assert {letter.tries for letter in letters} == {5}
    assert event_bus.dead_letters(name, limit=1) == letters[:1]
    assert event_bus.dead_letters(other.name) == []
    assert len(other.heard) == 5


def test_requeued_dead_letters_come_again_to_their_subscriber_alone(
    event_bus: EventBus, listen: Listen, name: str
) -> None:
    listener = listen(name, refuse=lambda message: message.id in ("r1:1", "r1:2", "r1:3"))
    other = listen(f"{name}-other")
    event_bus.publish([said(seq) for seq in range(1, 5)])
    poll(lambda: len(listener.heard) == 1 or None)
    listener.refuse = lambda _message: False
    assert event_bus.requeue(name, ["r1:2", "nothing"]) == 1
    poll(lambda: len(listener.heard) == 2 or None)
    assert ids([letter.message for letter in event_bus.dead_letters(name)]) == ["r1:1", "r1:3"]
    assert event_bus.requeue(name) == 2
    poll(lambda: len(listener.heard) == 4 or None)
    assert event_bus.dead_letters(name) == []
    event_bus.publish([said(5)])
    poll(lambda: len(other.heard) >= 5 and len(listener.heard) == 5)
    assert ids(listener.heard) == ["r1:4", "r1:2", "r1:1", "r1:3", "r1:5"]
    assert ids(other.heard) == ["r1:1", "r1:2", "r1:3", "r1:4", "r1:5"]


def test_what_was_taken_and_not_acknowledged_comes_again_first(
    event_bus: EventBus, listen: Listen, name: str
) -> None:
    place = event_bus.subscribe(name)
    event_bus.publish([said(seq) for seq in range(1, 4)])
    taken = poll(lambda: place.take(1.0))
    assert (taken.message.id, taken.deliveries) == ("r1:1", 1)
    place.close()
    again = event_bus.subscribe(name)
    taken = poll(lambda: again.take(1.0))
    assert (taken.message.id, taken.deliveries) == ("r1:1", 2)
    again.close()
    listener = listen(name)
    poll(lambda: len(listener.heard) == 3 or None)
    assert ids(listener.heard) == ["r1:1", "r1:2", "r1:3"]


def test_a_message_that_ends_its_processes_is_a_dead_letter_and_no_other(
    event_bus: EventBus, listen: Listen, name: str
) -> None:
    event_bus.subscribe(name).close()
    event_bus.publish([said(seq) for seq in range(1, 4)])
    for _ in range(5):
        place = event_bus.subscribe(name)
        assert poll(lambda place=place: place.take(1.0)).message.id == "r1:1"  # type: ignore[misc]
        place.close()
    listener = listen(name)
    poll(lambda: len(listener.heard) == 2 or None)
    assert ids(listener.heard) == ["r1:2", "r1:3"]
    (letter,) = event_bus.dead_letters(name)
    assert letter.message.id == "r1:1"
    assert letter.reason == "5 processes ended while they worked on it"


def test_take_waits_no_longer_than_it_is_told(event_bus: EventBus, name: str) -> None:
    place = event_bus.subscribe(name)
    assert place.take(0.05) is None
    place.close()
    event_bus.remove(name)


def test_a_removed_subscriber_is_forgotten(event_bus: EventBus, name: str) -> None:
    event_bus.subscribe(name).close()
    event_bus.bury(name, DeadLetter(message=said(9), reason="no", tries=1, at=1.5))
    assert event_bus.dead_letters(name)[0].at == 1.5
    event_bus.publish([said(1)])
    event_bus.remove(name)
    event_bus.remove(name)
    assert event_bus.dead_letters(name) == []
    place = event_bus.subscribe(name)
    assert place.take(0.2) is None
    place.close()
    event_bus.remove(name)


def test_what_is_no_name_is_refused(event_bus: EventBus) -> None:
    for wrong in ("", "a b", "a.b", "*", "ü", "x" * 65):
        with pytest.raises(InvalidError, match="is no name of a subscriber"):
            event_bus.subscribe(wrong)


def test_nothing_published_is_nothing(event_bus: EventBus) -> None:
    event_bus.publish([])
    assert event_bus.requeue("nobody") == 0


def test_it_says_what_it_is(event_bus: EventBus, bus_kind: str) -> None:
    assert {"memory": "process", "redis": "7", "nats": "NATS", "rabbitmq": "RabbitMQ"}[bus_kind] in event_bus.ping()
