"""One run on both databases at once: the same transitions, and what each says of them, made comparable."""

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from models.event import Event
from models.moves import Target, Transition, Transitioned
from models.outbox import Outbox
from models.queries import transitions
from models.run import Run
from models.step import Attempt, Step
from orchestrator.core.plan import Plan
from tests.support.engine import Engine

_MOMENTS = ("queued_at", "sent_at", "started_at", "finished_at", "lease_until", "timeout_at", "due_at")


class Twins:
    """The same workflow started on several engines; nothing is carried."""

    def __init__(self, engines: list[Engine], definition: dict[str, Any]) -> None:
        self._engines = engines
        self.plan: Plan = [engine.publish(definition) for engine in engines][-1]
        self._runs = [engine.start(definition["name"]) for engine in engines]

    def apply(self, transition: Transition) -> Transitioned | None:
        """Carry out a round on each; fails when they do not do and say the same."""
        said = []
        for engine, run_id in zip(self._engines, self._runs, strict=True):
            with engine.deps.db.transaction() as session:
                said.append(_plain(transitions.apply(session, replace(transition, run_id=run_id))))
        assert all(each == said[0] for each in said), said
        self.assert_same()
        return said[0]

    def attempt(self, no: int) -> int:
        """The fence of a step, which is the same on all."""
        with self._engines[0].deps.db.read() as session:
            row = session.get(Step, (self._runs[0], no))
            assert row is not None
            return row.attempt

    def assert_same(self) -> None:
        """Every row of the run says the same on each."""
        told = [_rows(engine, run) for engine, run in zip(self._engines, self._runs, strict=True)]
        for name in told[0]:
            assert all(each[name] == told[0][name] for each in told), (name, [each[name] for each in told])

    def told(self) -> list[tuple[str, str | None]]:
        """The events after the trigger's own: type and step."""
        with self._engines[0].deps.db.read() as session:
            rows = session.execute(
                select(Event.type, Event.step).where(Event.run_id == self._runs[0]).order_by(Event.seq)
            )
            return [(type_, step) for type_, step in rows if step is not None]


def _plain(result: Transitioned | None) -> Transitioned | None:
    if result is None:
        return None
    return replace(
        result,
        moved=tuple(replace(moved, live_in=_sorted(moved.live_in)) for moved in result.moved),
        targets=tuple(_plain_target(target) for target in result.targets),
    )


def _plain_target(target: Target) -> Target:
    return replace(target, live_in=_sorted(target.live_in))


def _sorted(live_in: str | None) -> str | None:
    """Edges that one statement decides have no order among them."""
    return None if live_in is None else ",".join(sorted(live_in.split(",")))


def _rows(engine: Engine, run_id: str) -> dict[str, Any]:
    with engine.deps.db.read() as session:
        run = session.get(Run, run_id)
        assert run is not None
        return {
            "run": {name: getattr(run, name) for name in ("status", "stopping", "seq", "open_steps", "error")}
            | {"cost": run.cost_microcents},
            "steps": [_columns(s) for s in session.scalars(_of(Step, run_id).order_by(Step.no))],
            "attempts": [
                _columns(a)
                for a in session.scalars(_of(Attempt, run_id).order_by(Attempt.no, Attempt.number))
            ],
            "events": [_columns(e) for e in session.scalars(_of(Event, run_id).order_by(Event.seq))],
            "outbox": [(o.kind, o.no, o.attempt) for o in session.scalars(_of(Outbox, run_id))],
        }


def _of(table: Any, run_id: str) -> Any:
    return select(table).where(table.run_id == run_id)


def _columns(row: Any) -> dict[str, Any]:
    """A row without what differs by nature: ids, and when something was; whether it was is kept."""
    found = {
        column.key: getattr(row, column.key) for column in row.__table__.columns if column.key not in ("run_id", "xid")
    }
    for name, value in found.items():
        if name in _MOMENTS or name.endswith("_at") or name == "at":
            found[name] = value is not None
    if "live_in" in found:
        found["live_in"] = _sorted(found["live_in"])
    if isinstance(found.get("data"), dict):
        found["data"] = json.dumps(found["data"], sort_keys=True)
    return found
