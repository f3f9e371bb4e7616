"""People at their desk: actors with keys of their own, the inbox, votes and signals, on an engine."""

from dataclasses import replace
from typing import Any

from orchestrator.core.people import Verdict
from orchestrator.services import approval_views, approvals, signals, sweeps
from orchestrator.services.actors import Actor
from orchestrator.services.approval_views import ApprovalFilter
from orchestrator.services.paging import PageRequest
from orchestrator.services.signals import Sent
from tests.support.engine import Engine

DAY = 86_400.0


def key(ours: Engine, name: str) -> Actor:
    """Somebody with a key of the engine's workspace."""
    return replace(ours.actor, key_id=f"key-{name}", name=name)


def inbox(ours: Engine, **wanted: Any) -> list[dict[str, Any]]:
    """The approvals that fit, the newest first; by default those that are open."""
    fits = ApprovalFilter(**{"status": "pending", **wanted})
    found: list[dict[str, Any]] = approval_views.page(ours.deps, ours.actor, fits, PageRequest(limit=200))["items"]
    return found


def vote(
    ours: Engine, approval_id: str, decision: Verdict = Verdict.APPROVED, *, by: str = "ada", **sent: Any
) -> dict[str, Any]:
    """Vote, and carry what follows from it."""
    voted = approvals.vote(ours.deps, key(ours, by), approval_id, decision, **sent)
    ours.send(voted.effects)
    ours.drain()
    return voted.answer


def signal(ours: Engine, run_id: str, name: str, data: Any = None, number: str | None = None) -> None:
    """Signal a run, and carry what follows from it."""
    ours.send(signals.to_run(ours.deps, ours.actor, run_id, Sent(signal=name, data=data, id=number)))
    ours.drain()


def signal_key(
    ours: Engine, name: str, key: str, data: Any = None, number: str | None = None
) -> dict[str, Any]:
    """Signal whoever waits for (name, key), and carry what follows from it."""
    received = signals.to_key(ours.deps, ours.actor, key, Sent(signal=name, data=data, id=number))
    ours.send(received.effects)
    ours.drain()
    return received.answer


def fire(ours: Engine) -> None:
    """The timers of the process go off."""
    while ours.timers:
        ours.send(sweeps.wake(ours.deps, ours.timers.pop(0)))
    ours.drain()


def swept(ours: Engine) -> None:
    """Sweeps come by until nothing is left to carry."""
    ours.sweep()
    ours.drain()
