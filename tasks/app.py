"""The Celery application: `celery -A tasks.app worker`, `… beat`, `… flower`."""

import sys
from typing import Any

from celery import Celery
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from orchestrator import logs
from tasks import kombu_guards, parts, posts, unacked, watch

# A thread that holds a run's lock must not wait 5 ms (the default) for the interpreter before it commits.
SWITCH_SECONDS = 0.0005

kombu_guards.install()
unacked.install()
app = Celery("orchestrator")
app.config_from_object("celeryconfig")


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    logs.set_up(parts.settings())


@worker_process_init.connect
def _child_began(**_: Any) -> None:
    """A prefork child: it gets parts of its own, made after the fork."""
    watch.start(app.amqp.queues.consume_from, 1)


@worker_ready.connect
def _worker_began(sender: Any, **_: Any) -> None:
    """A threads, gevent or solo worker works in the process that consumes."""
    kind = sender.pool.__class__.__module__
    if not kind.endswith("prefork"):
        sys.setswitchinterval(SWITCH_SECONDS)
        watch.start(app.amqp.queues.consume_from, 1 if kind.endswith("solo") else sender.pool.limit)


@worker_process_shutdown.connect
def _child_ends(**_: Any) -> None:
    """Told to end, or replaced after so many tasks: what it POSTs would come twice."""
    watch.finish()
    posts.finish()


@worker_shutting_down.connect
def _worker_is_to_end(**_: Any) -> None:
    watch.stop()
    posts.stop()


@worker_shutdown.connect
def _worker_ends(**_: Any) -> None:
    watch.finish()
