"""What kombu writes down in Redis of messages that are taken and not acknowledged yet: later, and much of it never.

Each message cost two transactions, one when it was taken and one when it was acknowledged, which is before its task
begins: 60 % of a worker's CPU for a message. Here both wait for some milliseconds, and what has come to both by then
is not written at all. The rest goes in one transaction for all: a worker that dies leaves the messages that it held
and had not begun, except those of its last milliseconds, to whoever looks after the visibility timeout, as before.
Of kombu 5.7; to any other nothing is done.
"""

from time import time
from typing import Any

import kombu
import kombu.transport.redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import dumps

SECONDS = 0.05
KNOWN = (5, 7)


class LateQoS(kombu_redis.QoS):
    """As kombu's where no event loop runs, as in consumers that ask by themselves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._to_note: dict[str, Any] = {}  # messages by their tags
        self._to_forget: list[str] = []
        self._is_due = False

    def append(self, message: Any, delivery_tag: str) -> None:
        hub = _hub(self.channel)
        if hub is None:
            super().append(message, delivery_tag)
            return
        self._to_note[delivery_tag] = message
        self._write_later(hub)
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        hub = _hub(self.channel)
        if hub is None and delivery_tag not in self._to_note:
            super().ack(delivery_tag)
            return
        if self._to_note.pop(delivery_tag, None) is None:
            self._to_forget.append(delivery_tag)
            self._write_later(hub)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            super().reject(delivery_tag, requeue=True)
        else:
            self.ack(delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        if self._to_note or self._to_forget:
            self.write()  # what goes back to its queue is read from Redis
        super().restore_by_tag(tag, client, leftmost)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """The channel is closed."""
        try:
            self.write()
        except self.channel.connection_errors:
            self._to_forget.clear()  # they come once more after the visibility timeout, and do nothing
        super().restore_unacked_once(stderr)

    def write(self) -> None:
        """Write down what is left of the last milliseconds. Raises what Redis' client raises; it can be tried again."""
        self._is_due = False
        noted, self._to_note = self._to_note, {}
        forgotten, self._to_forget = self._to_forget, []
        if not noted and not forgotten:
            return
        try:
            with self.pipe_or_acquire() as pipe:
                self._write(pipe, noted, forgotten)
        except BaseException:
            self._to_note = noted | self._to_note
            self._to_forget = forgotten + self._to_forget
            raise

    def _write(self, pipe: Any, noted: dict[str, Any], forgotten: list[str]) -> None:
        if noted:
            now = time()
            pipe.zadd(self.unacked_index_key, dict.fromkeys(noted, now))
            pipe.hset(self.unacked_key, mapping={tag: _stored(message) for tag, message in noted.items()})
        if forgotten:
            pipe.zrem(self.unacked_index_key, *forgotten)
            pipe.hdel(self.unacked_key, *forgotten)
        pipe.execute()

    def _write_later(self, hub: Any) -> None:
        if not self._is_due:
            self._is_due = True
            hub.call_later(SECONDS, self._write_if_open)

    def _write_if_open(self) -> None:
        if not self.channel.closed:
            self.write()


def install() -> None:
    """Put it in place, of a kombu that it is known to fit."""
    if tuple(kombu.VERSION[:2]) == KNOWN:
        kombu_redis.Channel.QoS = LateQoS
        _keep_hub()


def _hub(channel: Any) -> Any:
    return getattr(channel.connection, "hub_that_reads", None)


def _keep_hub() -> None:
    original = kombu_redis.Transport.register_with_event_loop

    def register_with_event_loop(self: Any, connection: Any, loop: Any) -> None:
        original(self, connection, loop)
        self.hub_that_reads = loop

    kombu_redis.Transport.register_with_event_loop = register_with_event_loop  # type: ignore[method-assign]


def _stored(message: Any) -> str:
    info = message.delivery_info
    return str(dumps([message._raw, info["exchange"], info["routing_key"]]))
