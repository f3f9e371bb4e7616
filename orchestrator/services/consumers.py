"""Who takes messages of which queue: each worker process says so, every few seconds."""

from collections.abc import Collection

from models.queries import lanes
from orchestrator.services.deps import Deps

SEEN_SECONDS = 30.0
FORGOTTEN_SECONDS = 3_600.0


def announce(deps: Deps, queues: Collection[str], slots: int) -> None:
    """Note that this process takes `slots` messages of these queues at once."""
    with deps.db.transaction() as session:
        lanes.forget(session, FORGOTTEN_SECONDS)
        lanes.announce(session, deps.process, queues, slots, deps.paces.own_cheap)


def withdraw(deps: Deps) -> None:
    """This process ends. One that is killed counts for half a minute more."""
    with deps.db.transaction() as session:
        lanes.withdraw(session, deps.process)
