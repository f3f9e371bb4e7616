"""Steps with compensations, and how their undoing went."""

from typing import Any

from sqlalchemy import select

from models.database import Database
from models.event import Event
from models.step import Attempt, Step
from orchestrator.services import undoing
from tests.support.engine import Engine
from tests.support.probes import ended, probe, publish
from tests.support.soundness import assert_run_sound


def undone(node_id: str, does: Any = None, undoing: Any = None, **fields: Any) -> dict[str, Any]:
    """A step with a compensation, both probes."""
    compensate = undoing if undoing is not None else {"type": "probe", "does": {}}
    return probe(node_id, does, compensate=compensate, **fields)


FAILS = probe("fails", {"fail": "TOOL_FAILED", "transient": False})


def told(ours: Engine, run_id: str, *types: str) -> list[tuple[str, str | None]]:
    """The events of a run of these types, in order: type and step."""
    with ours.deps.db.read() as session:
        rows = session.execute(
            select(Event.type, Event.step)
            .where(Event.run_id == run_id, Event.type.in_(types))
            .order_by(Event.seq)
        )
        return [(row.type, row.step) for row in rows]


def order(ours: Engine, run_id: str) -> list[str | None]:
    """The steps in the order in which their undoing began."""
    return [step for _, step in told(ours, run_id, "step.compensating")]


def outputs(ours: Engine, run_id: str) -> dict[str, Any]:
    """What each step's last attempt gave, by its path."""
    with ours.deps.db.read() as session:
        rows = session.execute(
            select(Step.path, Attempt.output)
            .join(Attempt, (Attempt.run_id == Step.run_id) & (Attempt.no == Step.no))
            .where(Step.run_id == run_id)
            .order_by(Attempt.number)
        )
        return dict(rows.all())


UNDOING = {"type": "probe", "does": {"fail": "TOOL_FAILED", "transient": False}}
TWICE = {"type": "probe", "does": [{"fail": "TOOL_FAILED", "transient": False}, {}]}


def stuck(database: Database) -> tuple[Engine, str]:
    """A run of which b could not be undone at first, and a not at all yet."""
    ours = publish(
        database, undone("a"), undone("b", {"succeed": {"id": 1}}, TWICE), undone("c"), probe("d"), FAILS,
        edges=["a >> b >> c >> d >> fails"],
    )  # fmt: skip
    run_id = ended(ours, "failed")
    assert order(ours, run_id) == ["c", "b"]
    return ours, run_id


def act(ours: Engine, effects: Any, run_id: str, status: str) -> None:
    ours.send(effects)
    ours.drain()
    assert ours.row(run_id).status == status
    assert_run_sound(ours.deps, run_id)


def compensate(ours: Engine, run_id: str) -> Any:
    return undoing.compensate(ours.deps, ours.actor, run_id, "again")
