"""The event bus on RabbitMQ: a topic exchange, a durable quorum queue for each subscriber.

The exchange is `orchestrator.events`, a routing key `<workspace>.<type>`, a message's body the event's JSON, its
`message_id` the id. A subscriber's queue is `orchestrator.events.<name>`, its dead letters are in
`orchestrator.events.dead.<name>`.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog
from amqp import Message as Content
from amqp.exceptions import NotFound

from models.errors import UnavailableError
from orchestrator import bus
from orchestrator.bus import BusParts, DeadLetter, Delivery, Message
from orchestrator.drivers.rabbitmq_link import HEARTBEAT, RabbitLink, beating

_log = structlog.get_logger(__name__)
EXCHANGE = "orchestrator.events"
WINDOW = 200  # messages on their way to one subscriber
_PERSISTENT = 2
_SLICE = 0.2  # seconds for which a reader keeps the connection from the thread that sends heartbeats


class RabbitBus:
    """`bus.EventBus`. The connection to publish by is kept; other calls have one of their own."""

    def __init__(self, parts: BusParts) -> None:
        self._parts = parts
        self._link: RabbitLink | None = None
        self._lock = threading.Lock()

    def publish(self, messages: Sequence[Message]) -> None:
        with self._lock:
            try:
                if self._link is None:
                    self._link = RabbitLink(self._parts.url)
                    with self._link.channel() as channel:
                        channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
                self._link.publish((EXCHANGE, f"{each.workspace_id}.{each.type}", _content(each)) for each in messages)
            except UnavailableError:
                self._forget()
                raise

    def subscribe(self, name: str) -> "RabbitSubscription":
        bus.check_name(name)
        return RabbitSubscription(self._parts, name)

    def bury(self, name: str, letter: DeadLetter) -> None:
        with self._once() as link:
            with link.channel() as channel:
                channel.queue_declare(
                    _dead(name), durable=True, auto_delete=False, arguments={"x-max-length": bus.DEAD_KEPT}
                )
            link.publish([("", _dead(name), _text(bus.letter_text(letter)))])

    def dead_letters(self, name: str, limit: int = 100) -> Sequence[DeadLetter]:
        with self._once() as link:
            return [bus.letter(_body(each)) for each in _got(link, _dead(name), limit)]

    def requeue(self, name: str, ids: Collection[str] | None = None) -> int:
        count = 0
        with self._once() as link:
            for each in _got(link, _dead(name), bus.DEAD_KEPT):
                message = bus.letter(_body(each)).message
                if ids is None or message.id in ids:
                    link.publish([("", _queue(name), _content(replace(message, only=name)))])
                    with link.channel() as channel:
                        channel.basic_ack(each.delivery_tag)
                    count += 1
        return count

    def remove(self, name: str) -> None:
        with self._once() as link, link.channel() as channel:
            channel.queue_delete(_queue(name))
            channel.queue_delete(_dead(name))

    def ping(self) -> str:
        with self._once() as link, link.channel() as channel:
            found = channel.connection.server_properties
        return f"{found.get('product', 'AMQP')} {found.get('version', '')}".strip()

    def close(self) -> None:
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    @contextmanager
    def _once(self) -> Iterator[RabbitLink]:
        link = RabbitLink(self._parts.url)
        try:
            yield link
        finally:
            link.close()


class RabbitSubscription:
    """`bus.Subscription`. The queue gives its messages to one consumer at a time.

    After a loss the server counts a delivery of all messages that were on their way, not only of the one that was
    worked on. So it begins with one at a time, and takes WINDOW when the first comes that nobody had before.
    """

    def __init__(self, parts: BusParts, name: str) -> None:
        self._queue = _queue(name)
        self._come: deque[Any] = deque()
        self._careful = True
        self._lost = False
        self._ended = threading.Event()
        self._link = RabbitLink(parts.url, heartbeat=HEARTBEAT)
        try:
            with self._link.channel() as channel:
                _declare(channel, self._queue, parts)
                self._consume(channel, 1)
        except BaseException:
            self._link.close()
            raise
        self._beating = beating(self._link, self._ended, self._fail)

    def take(self, wait: float) -> Delivery | None:
        end = time.monotonic() + wait
        while True:
            while not self._come and not self._lost:
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._link.drain(min(left, _SLICE))
            if self._lost:
                raise UnavailableError("the event bus on RabbitMQ has ended this subscription")
            found = self._come.popleft()
            try:
                before = (found.headers or {}).get("x-delivery-count", 0)
                return Delivery(message=_message(found), deliveries=before + 1, token=found)
            except bus.FOREIGN:
                _log.warning("passed over what is no event", queue=self._queue)
                self._done(found)

    def ack(self, delivery: Delivery) -> None:
        self._done(delivery.token)

    def _done(self, found: Any) -> None:
        with self._link.channel() as channel:
            if self._careful and not found.delivery_info["redelivered"]:
                channel.basic_cancel(self._tag)
                channel.basic_ack(found.delivery_tag)
                self._careful = False
                self._consume(channel, WINDOW)
            else:
                channel.basic_ack(found.delivery_tag)

    def close(self) -> None:
        self._ended.set()
        self._link.close()
        self._beating.join(1.0)

    def _consume(self, channel: Any, window: int) -> None:
        channel.basic_qos(0, window, False)
        self._tag = channel.basic_consume(self._queue, callback=self._come.append, on_cancel=self._cancelled)

    def _cancelled(self, _tag: str) -> None:
        self._fail()

    def _fail(self) -> None:
        self._lost = True


def _declare(channel: Any, queue: str, parts: BusParts) -> None:
    arguments = {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-max-length": parts.kept,
        "x-max-length-bytes": parts.kept_bytes,
    }
    channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
    channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
    channel.queue_bind(queue, EXCHANGE, "#")


def _got(link: RabbitLink, queue: str, limit: int) -> list[Any]:
    """The messages of a queue, unacknowledged: those that stay so go back when the link is closed."""
    with link.channel() as channel:
        try:
            waiting = channel.queue_declare(queue, passive=True).message_count
        except NotFound:
            return []
        found = (channel.basic_get(queue) for _ in range(min(limit, waiting)))
        return [each for each in found if each is not None]


def _queue(name: str) -> str:
    return f"{EXCHANGE}.{name}"


def _dead(name: str) -> str:
    return f"{EXCHANGE}.dead.{name}"


def _text(text: str, **properties: Any) -> Content:
    return Content(
        text.encode(), content_type="application/json", delivery_mode=_PERSISTENT, **properties
    )


def _content(message: Message) -> Content:
    headers = {} if message.only is None else {"only": message.only}
    return _text(message.body, message_id=message.id, type=message.type, application_headers=headers)


def _body(found: Any) -> str:
    body = found.body
    return body.decode() if isinstance(body, bytes) else str(body)


def _message(found: Any) -> Message:
    body = _body(found)
    event = json.loads(body)
    return Message(
        id=found.properties["message_id"],
        type=event["type"],
        workspace_id=event["workspace_id"],
        run_id=event.get("run_id"),
        body=body,
        only=(found.headers or {}).get("only"),
    )
