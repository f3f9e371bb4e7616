"""A step that costs more than its run has left: nothing more starts, however cheap it would be."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.services import runs
from tests.support import attempts, engine
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound

COSTLY = {"succeed": {"n": 1}, "usage": {"cost_microcents": 50_000_000}}
SPENDS = {"id": "spends", "type": "probe", "does": COSTLY}
CHEAP: list[dict[str, Any]] = [
    {"id": "notes", "type": "set", "values": {"n": "{{spends.n}}"}},
    {"id": "last", "type": "noop"},
]


def spent(database: Database, on_exceeded: str, *after: dict[str, Any]) -> tuple[Engine, str]:
    ours = engine.make(database)
    edges = [" >> ".join(node["id"] for node in (SPENDS, *after))] if after else []
    budget = {"limit_cents": 10, "on_exceeded": on_exceeded}
    ours.publish({"name": "w", "nodes": [SPENDS, *after], "edges": edges, "budget": budget})
    run_id = ours.run("w")
    assert attempts.told(ours, run_id).count("run.budget_exceeded") == 1
    assert_run_sound(ours.deps, run_id)
    return ours, run_id


@pytest.mark.parametrize("after", [CHEAP, CHEAP[1:], []])
def test_the_run_is_aborted(database: Database, after: list[dict[str, Any]]) -> None:
    ours, run_id = spent(database, "abort", *after)
    run = ours.row(run_id)
    assert (run.status, run.error["code"]) == ("aborted", "BUDGET_EXCEEDED")
    assert ours.statuses(run_id) == {"spends": "success", **{node["id"]: "skipped" for node in after}}
    assert ours.data(run_id).variables == {}


def test_the_run_is_paused_and_goes_on_with_a_higher_limit(database: Database) -> None:
    ours, run_id = spent(database, "pause", *CHEAP)
    assert ours.row(run_id).status == "paused"
    assert ours.statuses(run_id) == {"spends": "success", "notes": "queued", "last": "pending"}
    ours.send(runs.resume(ours.deps, ours.actor, run_id, budget={"limit_cents": 100}))
    ours.drain()
    assert ours.row(run_id).status == "success"
    assert ours.data(run_id).variables == {"n": 1}
    assert_run_sound(ours.deps, run_id)


def test_a_run_with_nothing_left_to_hold_back_is_not_paused(database: Database) -> None:
    ours, run_id = spent(database, "pause")
    assert ours.row(run_id).status == "success"
