"""A run that is being stopped ends, whatever becomes of the steps that are let end."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.services import looking, runs
from tests.support import attempts, engine
from tests.support.desk import office, step
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.soundness import assert_run_sound
from tests.support.waits import ends_of, goes_on

COMMITS: dict[str, Any] = {
    "side_effects": "external",
    "idempotency_key": "{{run.id}}-sign",
    "compensate": {"type": "none", "reason": "a test"},
}


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


def ended(ours: Engine, run_id: str, **status: str) -> None:
    ours.sweep()
    ours.drain()
    assert ours.row(run_id).status == "aborted"
    assert ours.statuses(run_id).items() >= status.items()
    assert_run_sound(ours.deps, run_id)


def test_a_lost_worker_of_a_step_that_is_let_end(database: Database) -> None:
    ours, run_id, claimed = aborting(database, external({"succeed": 1}))
    attempts.lose(ours, claimed)
    ended(ours, run_id, pay="failed")


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
    ended(ours, run_id, pay=status)


def test_a_step_that_is_let_end_and_given_back(database: Database) -> None:
    ours, run_id, claimed = aborting(database, external({"sleep": 60}))
    claimed.given_up.set()
    attempts.end(ours, claimed)
    ended(ours, run_id, pay="aborted")


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


@pytest.mark.parametrize("pulls", [False, True])
def test_a_stop_waits_for_no_commitment_that_no_agent_has_begun(database: Database, pulls: bool) -> None:
    ours = office(database, step(role="judge", **COMMITS))
    if pulls:
        ours.agent("puller", role="judge")
    run_id = ours.engine.run("w")
    ours.engine.send(runs.abort(ours.engine.deps, ours.engine.actor, run_id, "enough"))
    run = ours.engine.row(run_id)
    assert (run.status, run.cost_microcents) == ("aborted", 0)
    assert ours.engine.statuses(run_id) == {"a": "aborted"}
    assert_run_sound(ours.engine.deps, run_id)


def test_a_stop_waits_for_a_commitment_that_an_agent_has_claimed(database: Database) -> None:
    ours = office(database, step(role="judge", **COMMITS))
    puller = ours.agent("puller", role="judge")
    run_id = ours.engine.run("w")
    execute(ours.engine, "UPDATE work SET claimed_by = :agent", agent=puller)
    ours.engine.send(runs.abort(ours.engine.deps, ours.engine.actor, run_id, "enough"))
    assert ours.engine.statuses(run_id) == {"a": "waiting"}
    ends_of(ours, run_id)
    ended(ours.engine, run_id, a="success")


def test_a_commitment_that_its_gateway_never_got_does_not_hold_a_stop_up(database: Database) -> None:
    ours = office(database, step(**COMMITS), does=goes_on)
    ours.agent("ada", ours.gateway())
    run_id = ours.engine.run("w")
    ours.engine.send(runs.abort(ours.engine.deps, ours.engine.actor, run_id, "enough"))
    assert ours.engine.statuses(run_id) == {"a": "waiting"}
    ours.desk.runs.clear()
    no = attempts.step(ours.engine, run_id, "a").no
    ours.engine.send(looking.look(ours.engine.deps, run_id, no, 1, None))
    ended(ours.engine, run_id, a="failed")


def test_a_spent_budget_waits_for_no_agent_that_is_not_there(database: Database) -> None:
    costly = {"succeed": 1, "usage": {"cost_microcents": 50_000_000}}
    spends = {"id": "spends", "type": "probe", "does": costly}
    ours = office(database, spends, step(), budget={"limit_cents": 10})
    run_id = ours.engine.start("w")
    spending, asking = (attempts.take(ours.engine, path) for path in ("spends", "a"))
    attempts.end(ours.engine, asking)
    assert ours.engine.statuses(run_id)["a"] == "waiting"
    attempts.end(ours.engine, spending)
    assert ours.engine.statuses(run_id) == {"spends": "success", "a": "aborted"}
    run = ours.engine.row(run_id)
    assert (run.status, run.error["code"]) == ("aborted", "BUDGET_EXCEEDED")
    assert_run_sound(ours.engine.deps, run_id)
