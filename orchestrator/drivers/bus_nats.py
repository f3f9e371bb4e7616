"""The event bus on NATS JetStream: one stream, a durable consumer for each subscriber.

The stream is `orchestrator-events`, its subjects `orchestrator.events.<workspace>.<type>`, a message's payload the
event's JSON, its `Nats-Msg-Id` the id, by which the server drops what comes twice within two minutes. Dead letters are
in the stream `orchestrator-dead`, their subjects `orchestrator.dead.<name>`.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Collection, Sequence

import structlog
from nats.aio.msg import Msg
from nats.errors import Error, TimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg
from nats.js.errors import NotFoundError

from orchestrator import bus
from orchestrator.bus import BusParts, DeadLetter, Delivery, Message
from orchestrator.drivers.nats_link import TIMEOUT, NatsLink

_log = structlog.get_logger(__name__)
_ID, _ONLY = "Orchestrator-Id", "Orchestrator-Only"
_NO_TOKEN = re.compile(r"[^A-Za-z0-9_-]+")


class NatsBus:
    """`bus.EventBus`."""

    def __init__(self, parts: BusParts) -> None:
        self._parts = parts
        self._link = NatsLink(parts)

    def publish(self, messages: Sequence[Message]) -> None:
        self._link.run(self._publish(messages))

    def subscribe(self, name: str) -> "NatsSubscription":
        bus.check_name(name)
        return NatsSubscription(self._parts, name)

    def bury(self, name: str, letter: DeadLetter) -> None:
        async def bury() -> None:
            context = await self._link.stream()
            await context.publish(self._dead(name), bus.letter_text(letter).encode())

        self._link.run(bury())

    def dead_letters(self, name: str, limit: int = 100) -> Sequence[DeadLetter]:
        async def read() -> list[DeadLetter]:
            found: list[DeadLetter] = []
            async for each in self._letters(name):
                found.append(_letter(each))
                if len(found) >= limit:
                    break
            return found

        return self._link.run(read(), 60.0)

    def requeue(self, name: str, ids: Collection[str] | None = None) -> int:
        async def requeue() -> int:
            count = 0
            async for each in self._letters(name):
                message = _letter(each).message
                if ids is None or message.id in ids:
                    await self._again(name, message, each)
                    count += 1
            return count

        return self._link.run(requeue(), 60.0)

    def remove(self, name: str) -> None:
        async def remove() -> None:
            context = await self._link.stream()
            await context.purge_stream(self._link.dead, subject=self._dead(name))
            try:
                await context.delete_consumer(self._link.events, name)
            except NotFoundError:
                pass  # it never was, or is gone already

        self._link.run(remove())

    def ping(self) -> str:
        async def ping() -> str:
            context = await self._link.stream()
            await context.account_info()
            return f"NATS {(await self._link.client()).connected_server_version}, JetStream"

        return self._link.run(ping())

    def close(self) -> None:
        self._link.close()

    async def _publish(self, messages: Sequence[Message]) -> None:
        context = await self._link.stream()
        sent = [
            await context.publish_async(
                self._subject(each), each.body.encode(), headers={"Nats-Msg-Id": each.id}
            )
            for each in messages
        ]
        await asyncio.wait_for(asyncio.gather(*sent), 1.6 * TIMEOUT)

    async def _again(self, name: str, message: Message, letter: RawStreamMsg) -> None:
        context = await self._link.stream()
        headers = {"Nats-Msg-Id": f"{self._dead(name)}:{letter.seq}", _ID: message.id, _ONLY: name}
        await context.publish(self._subject(message), message.body.encode(), headers=headers)
        await context.delete_msg(self._link.dead, int(letter.seq or 0))

    async def _letters(self, name: str) -> AsyncIterator[RawStreamMsg]:
        context = await self._link.stream()
        seq = 1
        while True:
            try:
                found = await context.get_msg(self._link.dead, seq=seq, subject=self._dead(name), next=True)
            except NotFoundError:
                return
            yield found
            seq = int(found.seq or 0) + 1

    def _dead(self, name: str) -> str:
        return f"{self._link.dead_subjects}.{name}"

    def _subject(self, message: Message) -> str:
        kind = ".".join(_NO_TOKEN.sub("_", part) or "_" for part in message.type.split("."))
        return f"{self._link.subjects}.{_NO_TOKEN.sub('_', message.workspace_id) or '_'}.{kind}"


class NatsSubscription:
    """`bus.Subscription`: one message is under way at a time, so the server itself keeps the order."""

    def __init__(self, parts: BusParts, name: str) -> None:
        self._name = name
        self._lease = parts.lease
        self._link = NatsLink(parts)
        self._pull: JetStreamContext.PullSubscription | None = None
        self._held: Msg | None = None
        self._renewing: asyncio.Task[None] | None = None
        try:
            self._link.run(self._bind())
        except BaseException:
            self._link.close()
            raise

    def take(self, wait: float) -> Delivery | None:
        return self._link.run(self._take(wait), wait + 2 * TIMEOUT)

    def ack(self, delivery: Delivery) -> None:
        self._link.run(self._ack(delivery.token))

    def close(self) -> None:
        try:
            self._link.run(self._leave())
        except Exception:  # noqa: S110 - what was not given back comes again after a lease
            pass
        self._link.close()

    async def _bind(self) -> JetStreamContext.PullSubscription:
        context = await self._link.stream()
        try:
            await context.consumer_info(self._link.events, self._name)
        except NotFoundError:
            config = ConsumerConfig(
                durable_name=self._name,
                deliver_policy=DeliverPolicy.NEW,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._lease,
                max_ack_pending=1,
            )
            await context.add_consumer(self._link.events, config)
        self._pull = await context.pull_subscribe_bind(durable=self._name, stream=self._link.events)
        return self._pull

    async def _take(self, wait: float) -> Delivery | None:
        client = await self._link.client()
        pull = self._pull
        if pull is None or not client.is_connected:
            pull = await self._bind()
        end = time.monotonic() + wait
        while True:
            try:
                (found,) = await pull.fetch(1, timeout=max(0.01, end - time.monotonic()))
            except TimeoutError:
                return None
            try:
                message = _message(found)
                if message.only in (None, self._name):
                    break
            except bus.FOREIGN:
                _log.warning("passed over what is no event", subscriber=self._name, subject=found.subject)
            await found.ack()
        self._held = found
        self._renewing = asyncio.ensure_future(self._renew(found))
        return Delivery(message=message, deliveries=found.metadata.num_delivered, token=found)

    async def _ack(self, held: Msg) -> None:
        await held.ack()
        self._let_go()

    async def _leave(self) -> None:
        held = self._held
        self._let_go()
        if held is not None:
            await held.nak()

    def _let_go(self) -> None:
        self._held = None
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    async def _renew(self, held: Msg) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                await held.in_progress()
            except Error:
                return  # the connection is gone: the next call tells


def _message(found: Msg) -> Message:
    headers = found.headers or {}
    event = json.loads(found.data)
    return Message(
        id=headers.get(_ID) or headers["Nats-Msg-Id"],
        type=event["type"],
        workspace_id=event["workspace_id"],
        run_id=event.get("run_id"),
        body=found.data.decode(),
        only=headers.get(_ONLY),
    )


def _letter(found: RawStreamMsg) -> DeadLetter:
    return bus.letter((found.data or b"{}").decode())
