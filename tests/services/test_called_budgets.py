"""A budget over a tree of runs: one row, on which all that is called draws, and which nobody outspends."""

from typing import Any

import pytest

from models.database import Database
from models.run import Budget
from orchestrator.services import fsck, runs
from tests.support import attempts
from tests.support.calls import call, called, child, everything, made, sound
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.probes import probe

CENT = 1_000_000


def costs(node_id: str, cents: int, **fields: Any) -> dict[str, Any]:
    """A step that costs what it says it will, unless `really` says more."""
    really = fields.pop("really", cents)
    does = {"succeed": {}, "usage": {"cost_microcents": really * CENT}}
    return probe(node_id, does, estimated_cost_cents=cents, **fields)


def budget(ours: Engine, run_id: str) -> Budget:
    with ours.deps.db.read() as session:
        return session.get_one(Budget, run_id)


BELOW: dict[str, Any] = {"name": "below", "nodes": [costs("x", 4)]}


def above(*nodes: dict[str, Any], on_exceeded: str = "abort", **fields: Any) -> dict[str, Any]:
    limit = {"limit_cents": 10, "on_exceeded": on_exceeded}
    return {"name": "above", "nodes": list(nodes), "budget": limit, **fields}


def test_what_is_called_draws_on_the_one_budget(database: Database) -> None:
    middle = {"name": "middle", "nodes": [call("it", "below"), costs("y", 1)]}
    ours = made(database, BELOW, middle, above(call("m", "middle"), call("n", "below")))
    run_id = ours.run("above")
    assert ours.row(run_id).status == "success"
    assert (budget(ours, run_id).spent_microcents, ours.row(run_id).cost_microcents) == (9 * CENT, 9 * CENT)
    assert {run.budget_run_id for run in everything(ours)} == {None, run_id}
    sound(ours)


def test_calls_at_once_cannot_overshoot_together(database: Database) -> None:
    calls = [call(f"c{no}", "below") for no in range(4)]
    ours = made(database, BELOW, above(*calls))
    run_id = ours.run("above")
    run = ours.row(run_id)
    assert (run.status, run.error["code"]) == ("aborted", "BUDGET_EXCEEDED")
    assert budget(ours, run_id).spent_microcents == run.cost_microcents == 8 * CENT
    assert {run.status for run in called(ours, run_id)} <= {"success", "aborted"}
    sound(ours)


def test_what_runs_elsewhere_in_the_tree_may_end(database: Database) -> None:
    spends = {"name": "spends", "nodes": [costs("big", 2, really=50)]}
    works = {"name": "works", "nodes": [costs("a", 1), costs("b", 1)], "edges": ["a >> b"]}
    ours = made(database, spends, works, above(call("s", "spends"), call("w", "works"), probe("end")))
    run_id = ours.start("above")
    held = {}
    while len(held) < 2:
        if ours.relays:
            ours.relay(ours.relays.pop(0))
        message, in_chord = ours.inbox.pop(0)
        if message.path in ("big", "a"):
            ours.inbox.append((message, in_chord))
            held[message.path] = attempts.take(ours, message.path)
        else:
            ours.carrier.carry(message, in_chord=in_chord)
    attempts.end(ours, held["big"])
    ours.drain()
    spent, working = called(ours, run_id)
    assert (ours.row(run_id).status, working.stopping) == ("running", "aborted")
    assert ours.statuses(working.id) == {"a": "running", "b": "skipped"}
    attempts.end(ours, held["a"])
    ours.drain()
    assert {run.status for run in (*everything(ours), spent)} == {"aborted"} | {spent.status}
    assert ours.statuses(working.id) == {"a": "success", "b": "skipped"}
    assert ours.row(run_id).error["code"] == "BUDGET_EXCEEDED"
    assert budget(ours, run_id).spent_microcents == ours.row(run_id).cost_microcents == 51 * CENT
    sound(ours)


def test_the_tree_is_paused_and_goes_on_with_a_higher_limit(database: Database) -> None:
    below = {"name": "deep", "nodes": [costs("x", 4), costs("y", 4), costs("z", 4)], "edges": ["x >> y >> z"]}
    middle = {"name": "middle", "nodes": [call("it", "deep")]}
    ours = made(database, below, middle, above(call("m", "middle"), on_exceeded="pause"))
    run_id = ours.run("above")
    assert {run.status for run in everything(ours)} == {"paused"}
    assert ours.statuses(everything(ours)[2].id) == {"x": "success", "y": "success", "z": "queued"}
    ours.send(runs.resume(ours.deps, ours.actor, run_id, budget={"limit_cents": 20}))
    ours.drain()
    assert {run.status for run in everything(ours)} == {"success"}
    assert budget(ours, run_id).spent_microcents == 12 * CENT
    sound(ours)


@pytest.mark.parametrize(("limit", "status"), [(3, "failed"), (4, "success")])
def test_a_limit_of_the_called_workflow_holds_where_none_above_does(
    database: Database, limit: int, status: str
) -> None:
    below = {**BELOW, "budget": {"limit_cents": limit}}
    ours = made(database, below, {"name": "above", "nodes": [call("it", "below")]})
    run_id = ours.run("above")
    assert ours.row(run_id).status == status
    if status == "failed":
        assert ours.row(run_id).error["code"] == "BUDGET_EXCEEDED"
    else:
        assert budget(ours, child(ours, run_id).id).spent_microcents == 4 * CENT
    sound(ours)


def test_a_limit_above_stands_for_that_of_the_called_workflow(database: Database) -> None:
    ours = made(database, {**BELOW, "budget": {"limit_cents": 1}}, above(call("it", "below")))
    assert ours.row(ours.run("above")).status == "success"
    sound(ours)


def test_fsck_finds_what_does_not_add_up_over_the_tree(database: Database) -> None:
    ours = made(database, BELOW, above(call("it", "below")))
    run_id = ours.run("above")
    below = child(ours, run_id).id
    execute(ours, "UPDATE budget SET spent_microcents = 1, reserved_microcents = 2")
    assert [(v.invariant, v.run_id) for v in fsck.check(ours.deps, run_id)] == [(5, run_id)] * 3
    execute(ours, "UPDATE run SET cost_microcents = 9 WHERE id = :run", run=below)
    assert {v.invariant for v in fsck.check(ours.deps, below)} == {5}
    assert any("count for" in v.message for v in fsck.check(ours.deps, below))
