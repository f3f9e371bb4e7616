"""Two places of kombu 5.7.0 that a lost Redis would turn into a lost worker. Drop each when kombu is mended."""

from typing import Any

import kombu.transport.redis as kombu_redis
import redis.exceptions
from kombu.transport import virtual


def install() -> None:
    """Put both guards in place; `orchestrator doctor` says whether they are."""
    _guard_closed_channels()
    _guard_failed_acknowledgements()


def _guard_closed_channels() -> None:
    """A worker that is cut off repeatedly ends: `Channel._connparams` reads the host of a connection that is
    closed. A ConnectionError instead is retried.
    """
    original = kombu_redis.Channel._connparams

    def connparams(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.connection is None or self.connection.client is None:
            raise redis.exceptions.ConnectionError("the channel is closed")
        return original(self, *args, **kwargs)

    kombu_redis.Channel._connparams = connparams  # type: ignore[method-assign]


def _guard_failed_acknowledgements() -> None:
    """A worker whose last free places were taken by messages that it could not acknowledge is deaf for ever: their
    places stay taken, so it does not read its connection any more, and never sees that it was lost. Here they are
    free again, whatever Redis says; the messages come once more after the visibility timeout, and do nothing.
    """
    original = kombu_redis.QoS.ack

    def ack(self: Any, delivery_tag: str) -> None:
        try:
            original(self, delivery_tag)
        except self.channel.connection_errors:
            virtual.QoS.ack(self, delivery_tag)
            raise

    kombu_redis.QoS.ack = ack  # type: ignore[method-assign]
