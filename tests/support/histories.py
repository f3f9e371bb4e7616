"""Runs to break: definitions that use what the invariants speak of, and ways past the engine to their rows."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from tests.support.engine import Engine

LEADS: dict[str, Any] = {
    "name": "leads",
    "variables": {"seen": 0},
    "budget": {"limit_cents": 100},
    "labels": {"team": "sales"},
    "nodes": [
        {"id": "capture", "type": "noop"},
        {"id": "enrich", "type": "probe", "does": {"succeed": {"size": 7}}, "estimated_cost_cents": 5},
        {
            "id": "score",
            "type": "probe",
            "does": [{"fail": "NETWORK"}, {"succeed": {"score": 80}, "usage": {"cost_microcents": 123}}],
            "retry": {"max_attempts": 2, "initial": 0.25, "jitter": 0},
            "estimated_cost_cents": 5,
        },
        {"id": "mark", "type": "set", "values": {"seen": "{{score.score}}"}},
        {"id": "hot", "type": "condition", "expression": "score.score > 50"},
        {
            "id": "call",
            "type": "probe",
            "does": {"fail": "TOOL_FAILED"},
            "input_mapping": {"n": "{{var.seen}}"},
        },
        {"id": "mail", "type": "probe"},
        {"id": "mend", "type": "probe"},
        {"id": "last", "type": "noop", "join": "any"},
    ],
    "edges": [
        "capture >> [enrich, score] >> mark >> hot",
        {"from": "hot", "to": "call", "handle": "router", "route": "true"},
        {"from": "hot", "to": "mail", "handle": "router", "route": "false"},
        {"from": "call", "to": "mend", "handle": "error"},
        "[mail, mend] >> last",
    ],
}
PARKED: dict[str, Any] = {
    "name": "parked",
    "nodes": [
        {"id": "a", "type": "probe", "does": {"wait": "signal"}},
        {"id": "b", "type": "probe", "does": {"wait": "signal"}},
        {"id": "after", "type": "probe"},
    ],
    "edges": ["[a, b] >> after"],
}
PAIR: dict[str, Any] = {
    "name": "pair",
    "nodes": [{"id": "a", "type": "probe"}, {"id": "b", "type": "probe"}],
    "edges": ["a >> b"],
}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def finished(engine: Engine, definition: dict[str, Any] = LEADS) -> str:
    """A run that went as far as it goes by itself; retries are made due at once."""
    engine.publish(definition)
    run_id = engine.run(definition["name"])
    while engine.timers:
        engine.timers.clear()
        now = moment(engine, datetime.now(UTC))
        execute(engine, "UPDATE step SET due_at = :now WHERE due_at IS NOT NULL", now=now)
        engine.sweep()
        engine.drain()
    return run_id


def moment(engine: Engine, at: datetime) -> Any:
    return at.timestamp() if engine.deps.db.is_sqlite else at


def execute(engine: Engine, statement: str, **values: Any) -> None:
    with engine.deps.db.transaction() as session:
        assert session.execute(text(statement), values).rowcount != 0, statement


def append(engine: Engine, run_id: str, type_: str, step: str | None = None, **data: Any) -> None:
    """Add an event that the engine did not write."""
    execute(engine, "UPDATE run SET seq = seq + 1 WHERE id = :run", run=run_id)
    execute(
        engine,
        "INSERT INTO event (run_id, seq, type, step, at, data)"
        " SELECT id, seq, :type, :step, :at, :data FROM run WHERE id = :run",
        run=run_id,
        type=type_,
        step=step,
        at=moment(engine, datetime.now(UTC)),
        data=json.dumps({"attempt": 1, "tries": 1, "losses": 0} | data),
    )
