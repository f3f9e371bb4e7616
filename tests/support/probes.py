"""Short definitions of probes, and engines that run them."""

from typing import Any

from models.database import Database
from orchestrator.settings import Settings
from tests.support import engine
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound

NAME = "w"


def probe(node_id: str, does: Any = None, **fields: Any) -> dict[str, Any]:
    """A step that does what it is told (tests/plugin), by default succeeds with its input."""
    return {"id": node_id, "type": "probe", "does": {} if does is None else does, **fields}


def external(node_id: str, does: Any = None, **fields: Any) -> dict[str, Any]:
    """An external commitment: it is let end when its run is stopped."""
    undone = {
        "compensate": {"type": "none", "reason": "a test"},
        "idempotency_key": f"{{{{run.id}}}}-{node_id}",
    }
    return probe(node_id, does, side_effects="external", **undone, **fields)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def publish(
    database: Database,
    *nodes: dict[str, Any],
    edges: Any = (),
    clock: Clock | None = None,
    settings: Settings | None = None,
    **fields: Any,
) -> Engine:
    """An engine with the workflow `w` of these nodes."""
    ours = engine.make(database, clock=clock, settings=settings)
    ours.publish({"name": NAME, "nodes": list(nodes), "edges": list(edges), **fields})
    return ours


def ended(ours: Engine, status: str = "success", **trigger: Any) -> str:
    """A run that goes to its end by itself, which must be this one; its id."""
    run_id = ours.run(NAME, **trigger)
    ends(ours, run_id, status)
    return run_id


def ends(ours: Engine, run_id: str, status: str) -> None:
    """Carry what is left; the run ends so, and no invariant is broken."""
    ours.drain()
    assert ours.row(run_id).status == status
    assert_run_sound(ours.deps, run_id)
