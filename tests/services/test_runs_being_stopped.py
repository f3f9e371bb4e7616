"""A run that is being stopped ends, whatever becomes of the steps that are let end."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.services import runs
from tests.support import attempts, engine
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound


def external(does: dict[str, Any], **fields: Any) -> dict[str, Any]:
    undone = {"idempotency_key": "{{run.id}}-pay", "compensate": {"type": "none", "reason": "a test"}}
    return {"id": "pay", "type": "probe", "does": does, "side_effects": "external", **undone, **fields}


def aborting(database: Database, node: dict[str, Any]) -> tuple[Engine, str, Any]:
    """A run whose external step was running when it was aborted."""
    ours = engine.make(database)
    ours.publish({"name": "w", "nodes": [node, {"id": "after", "type": "probe"}], "edges": ["pay >> after"]})
    run_id = ours.start("w")
    claimed = attempts.take(ours, "pay")
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    assert ours.statuses(run_id) == {"pay": "running", "after": "skipped"}
    return ours, run_id, claimed


def ended(ours: Engine, run_id: str, pay: str) -> None:
    ours.sweep()
    ours.drain()
    assert ours.row(run_id).status == "aborted"
    assert ours.statuses(run_id)["pay"] == pay
    assert_run_sound(ours.deps, run_id)


def test_a_lost_worker_of_a_step_that_is_let_end(database: Database) -> None:
    ours, run_id, claimed = aborting(database, external({"succeed": 1}))
    attempts.lose(ours, claimed)
    ended(ours, run_id, "failed")


@pytest.mark.parametrize(
    ("does", "status"),
    [
        ({"succeed": 1}, "success"),
        ({"fail": "NETWORK"}, "failed"),
        ({"wait": "a callback"}, "aborted"),
        ({"wait": "a timer", "seconds": 3600}, "aborted"),
        ({"pause": "a person"}, "aborted"),
    ],
)
def test_what_a_step_that_is_let_end_says(database: Database, does: dict[str, Any], status: str) -> None:
    ours, run_id, claimed = aborting(database, external(does, retry={"max_attempts": 3, "initial": 0}))
    attempts.end(ours, claimed)
    ended(ours, run_id, status)


def test_a_step_that_is_let_end_and_given_back(database: Database) -> None:
    ours, run_id, claimed = aborting(database, external({"sleep": 60}))
    claimed.given_up.set()
    attempts.end(ours, claimed)
    ended(ours, run_id, "aborted")


def test_a_failure_stops_no_step_that_a_spent_budget_lets_end(database: Database) -> None:
    ours = engine.make(database)
    costly = {"succeed": 1, "usage": {"cost_microcents": 50_000_000}}
    nodes = [
        {"id": "spends", "type": "probe", "does": costly},
        {"id": "fails", "type": "probe", "does": {"fail": "TOOL_FAILED"}},
        {"id": "works", "type": "probe", "does": {"succeed": {"kept": True}}},
    ]
    ours.publish({"name": "w", "nodes": nodes, "edges": [], "budget": {"limit_cents": 10}})
    run_id = ours.start("w")
    held = [attempts.take(ours, path) for path in ("spends", "fails", "works")]
    for claimed in held:
        attempts.end(ours, claimed)
    assert ours.statuses(run_id) == {"spends": "success", "fails": "failed", "works": "success"}
    run = ours.row(run_id)
    assert (run.status, run.error["code"]) == ("aborted", "BUDGET_EXCEEDED")
    assert_run_sound(ours.deps, run_id)


def test_a_spent_budget_is_told_once(database: Database) -> None:
    ours = engine.make(database)
    costly = {"succeed": 1, "usage": {"cost_microcents": 50_000_000}}
    nodes = [{"id": name, "type": "probe", "does": costly} for name in ("a", "b", "c")]
    nodes.append({"id": "last", "type": "probe"})
    budget = {"limit_cents": 10, "on_exceeded": "pause"}
    ours.publish({"name": "w", "nodes": nodes, "edges": ["[a, b, c] >> last"], "budget": budget})
    run_id = ours.start("w")
    for claimed in [attempts.take(ours, path) for path in ("a", "b", "c")]:
        attempts.end(ours, claimed)
    assert ours.row(run_id).status == "paused"
    assert attempts.told(ours, run_id).count("run.budget_exceeded") == 1
    assert_run_sound(ours.deps, run_id)


def test_an_abort_says_who_and_why(database: Database) -> None:
    for node in ({"id": "pay", "type": "probe"}, external({"succeed": 1})):
        ours = engine.make(database)
        ours.publish({"name": "w", "nodes": [node]})
        run_id = ours.start("w")
        claimed = attempts.take(ours, "pay")
        runs.abort(ours.deps, ours.actor, run_id, "enough")
        attempts.end(ours, claimed)
        event = attempts.events(ours, run_id)[-1]
        assert (event.type, event.actor, event.data) == ("run.aborted", "test", {"reason": "enough"})
        assert_run_sound(ours.deps, run_id)
