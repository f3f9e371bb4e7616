"""The plans of the statements of a step go through their keys, whatever the statistics say.

A generic plan that read all rows of the run made a step of 5,000 nodes cost 2.3 times one of 200
(spec "performance").
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, text

from models.base import uuid7
from models.database import Database
from models.queries import steps
from models.queries.claims_postgresql import CLAIM
from models.queries.completions_postgresql import COMPLETION
from models.queries.prepared import Prepared
from models.queries.transitions_postgresql import TRANSITION
from models.run import Run
from models.step import Attempt, Step
from tests.support import engine

pytestmark = pytest.mark.postgres
NOW = datetime(2026, 1, 31, tzinfo=UTC)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "transition": (["running"], False, "[]", "[]", "[]", None, None, -1),
    "completion": (["running"], 1, "[]", "{}", "{}", "{}", "{}", "{}", 10.0, "w", False),
    "claim": (["running"], True, "{0}", "{0}", 10.0, "{NULL}", "w", "{0}", ["queued"], "{0,1}"),
    "stored": ([0, 1],),
}
STORED = steps.PREPARED[True]
EXPECTED = {
    "transition": {
        "pk_run": {"id"},
        "pk_step": {"run_id", "no"},
        "pk_attempt": {"run_id", "no", "number"},
    },
    "completion": {
        "pk_run": {"id"},
        "pk_step": {"run_id", "no"},
        "pk_attempt": {"run_id", "no", "number"},
    },
    "claim": {"pk_run": {"id"}, "pk_step": {"run_id", "no"}, "pk_attempt": {"run_id", "no", "number"}},
    "stored": {"pk_step": {"run_id", "no"}, "pk_attempt": {"run_id", "no", "number"}},
}


def _fill(database: Database, shape: Sequence[int]) -> str:
    """Runs with these numbers of steps; the id of the last."""
    made = engine.make(database)
    made.publish({"name": "one", "nodes": [{"id": "a", "type": "noop"}]})
    run = made.row(made.start("one"))
    copied = {column.name: getattr(run, column.name) for column in Run.__table__.columns}
    step: dict[str, Any] = {
        "status": "pending", "attempt": 1, "undecided": 3, "live": 0, "tries": 0, "losses": 0, "queue": "steps",
        "in_chord": False, "sends": 0,
    }  # fmt: skip
    attempt = {"number": 1, "status": "success", "claimed_at": NOW}
    ids = [uuid7() for _ in shape]
    keys = [
        {"run_id": run_id, "no": no} for run_id, size in zip(ids, shape, strict=True) for no in range(size)
    ]
    with database.transaction() as session:
        session.execute(insert(Run), [copied | {"id": each} for each in ids])
        session.execute(insert(Step), [step | key | {"path": f"n{key['no']}"} for key in keys])
        session.execute(insert(Attempt), [attempt | key for key in keys])
    return ids[-1]


def _plan(database: Database, prepared: Prepared, run_id: str) -> str:
    with database.transaction() as session:
        prepared.rows(session, (run_id, *ARGUMENTS[prepared.name]))
        connection: Any = session.connection().connection
        with connection.cursor() as cursor:
            places = ", ".join(["%s"] * len(prepared.types))
            cursor.execute(f"EXPLAIN EXECUTE {prepared.name} ({places})", (run_id, *ARGUMENTS[prepared.name]))
            return "\n".join(line for (line,) in cursor.fetchall())


def _columns(plan: str) -> dict[str, list[set[str]]]:
    """By index: the columns that the condition of each of its scans compares."""
    found: dict[str, list[set[str]]] = {}
    for index, condition in re.findall(r"Index (?:Only )?Scan using (\w+) on .*\n\s+Index Cond: (.+)", plan):
        found.setdefault(index, []).append(set(re.findall(r"\((\w+) = ", condition)))
    return found


@pytest.mark.parametrize("prepared", [TRANSITION, COMPLETION, CLAIM, STORED], ids=lambda prepared: prepared.name)
@pytest.mark.parametrize(
    ("shape", "analyzed"),
    [([1], False), ([1] * 60, True), ([5] * 100, True), ([5_000], True)],
    ids=["fresh", "tiny runs", "short runs", "a large run"],
)
def test_every_row_is_reached_by_its_key(
    new_database: Callable[[str], str], prepared: Prepared, shape: Sequence[int], analyzed: bool
) -> None:
    database = Database(new_database("postgresql"))
    run_id = _fill(database, shape)
    if analyzed:
        with database.single() as session:
            session.execute(text("ANALYZE run, step, attempt, event"))
    plan = _plan(database, prepared, run_id)
    database.close()
    assert "Seq Scan on" not in plan
    assert "Bitmap" not in plan
    for index, columns in EXPECTED[prepared.name].items():
        scans = _columns(plan).get(index, [])
        assert scans, f"{index} is not used:\n{plan}"
        assert all(scan == columns for scan in scans), f"{index} by {scans}:\n{plan}"
