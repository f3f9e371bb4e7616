"""Runs of definitions with loops and parallels: driven to their end, and shown as a user sees them."""

from typing import Any

from models.states import RUN_TERMINAL
from orchestrator.services import run_views, sweeps
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound


def probe(node_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "probe", **fields}


def definition(*nodes: dict[str, Any], edges: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "w", "nodes": list(nodes), "edges": edges or [], **more}


def body(*nodes: dict[str, Any], edges: list[Any] | None = None) -> dict[str, Any]:
    return {"nodes": list(nodes), "edges": edges or []}


def drive(ours: Engine, run_id: str, *, most: int = 1_000) -> None:
    """Carry a run to its end, with timers firing at once."""
    while True:
        ours.drain()
        if not ours.timers:
            break
        most -= 1
        assert most > 0, "timers without end"
        ours.send(sweeps.wake(ours.deps, ours.timers.pop(0)))


def ended(ours: Engine, described: dict[str, Any], **trigger: Any) -> dict[str, Any]:
    """Publish and run a definition to its end; the run as the API shows it, every invariant checked."""
    ours.publish(described)
    run_id = ours.start(described["name"], **trigger)
    drive(ours, run_id)
    assert_run_sound(ours.deps, run_id)
    found = run_views.run(ours.deps, ours.actor, run_id)
    assert found["status"] in RUN_TERMINAL, ours.statuses(run_id)
    return found
