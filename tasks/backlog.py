"""How long the broker's queues are."""

import structlog
from kombu.exceptions import ChannelError

_log = structlog.get_logger(__name__)


def length(queue: str) -> int | None:
    """The messages that wait in a queue, None when the broker does not say."""
    from tasks.app import app

    try:
        with app.connection_for_write() as connection:
            channel = connection.default_channel
            return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        return 0  # no such queue: on Redis an empty one is none
    except Exception as error:
        _log.debug("queue length unknown", queue=queue, error=str(error))
        return None
