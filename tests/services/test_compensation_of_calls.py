"""Called runs are undone with their callers, and undo steps."""


import pytest

from models.database import Database
from models.run import RunData
from orchestrator.services import control, restoring, runs
from orchestrator.services.reaching import Wanted
from tests.support import attempts, calls
from tests.support.engine import Engine
from tests.support.probes import probe, publish
from tests.support.soundness import assert_run_sound
from tests.support.undone import FAILS, TWICE, act, compensate, order, undone


def test_a_called_run_undoes_itself(database: Database) -> None:
    ours = publish(database, undone("a"), undone("b"), edges=["a >> b"])
    below = {"id": "below", "type": "subworkflow", "workflow": "w"}
    ours.publish({"name": "above", "nodes": [undone("p"), below, FAILS], "edges": ["p >> below >> fails"]})
    run_id = ended_of(ours, "above", "compensated")
    assert order(ours, run_id) == ["below", "p"]
    (called,) = calls.called(ours, run_id)
    assert called.status == "compensated"
    assert order(ours, called.id) == ["b", "a"]
    assert_run_sound(ours.deps, called.id)


def test_a_called_run_that_cannot_be_undone(database: Database) -> None:
    ours = publish(database, undone("a", undoing=TWICE))
    below = {"id": "below", "type": "subworkflow", "workflow": "w"}
    ours.publish({"name": "above", "nodes": [undone("p"), below, FAILS], "edges": ["p >> below >> fails"]})
    run_id = ended_of(ours, "above", "failed")
    assert ours.statuses(run_id)["below:compensate"] == "failed"
    act(ours, compensate(ours, run_id), run_id, "compensated")
    (called,) = calls.called(ours, run_id)
    assert called.status == "compensated"


def test_a_called_run_with_nothing_to_undo(database: Database) -> None:
    ours = publish(database, probe("a"))
    below = {"id": "below", "type": "subworkflow", "workflow": "w"}
    ours.publish({"name": "above", "nodes": [below, FAILS], "edges": ["below >> fails"]})
    run_id = ended_of(ours, "above", "failed")
    assert "below:compensate" not in ours.statuses(run_id)


def test_a_called_run_that_fails_and_is_undone_is_a_failure(database: Database) -> None:
    ours = publish(database, undone("a"), FAILS, edges=["a >> fails"])
    ours.publish(
        {"name": "above", "nodes": [{"id": "below", "type": "subworkflow", "workflow": "w"}], "edges": []}
    )
    run_id = ended_of(ours, "above", "failed")
    assert ours.row(run_id).error["code"] == "TOOL_FAILED"


def test_a_called_run_is_undone_by_the_copy_of_its_step(database: Database) -> None:
    ours = publish(database, undone("a"))
    last = probe("c", [{}, {"fail": "NETWORK"}])
    ours.publish({"name": "above", "nodes": [calls.call("below", "w"), last], "edges": ["below >> c"]})
    run_id = ended_of(ours, "above", "success")
    ours.send(control.rerun(ours.deps, ours.actor, Wanted(run_id=run_id, path="below")))
    act(ours, runs.abort(ours.deps, ours.actor, run_id, "not so"), run_id, "aborted")
    wanted = restoring.Wanted(run_id=run_id, checkpoint="after:below")
    act(ours, restoring.restore(ours.deps, ours.actor, wanted), run_id, "compensated")
    assert (order(ours, run_id), calls.child(ours, run_id).status) == (["below"], "compensated")
    assert_run_sound(ours.deps, calls.child(ours, run_id).id)


@pytest.mark.parametrize("first", ["recall", "ended"])
@pytest.mark.parametrize("ask", [None, True, False], ids=["timed-out", "undone", "aborted"])
def test_a_called_run_that_ends_while_it_is_given_up(database: Database, first: str, ask: bool | None) -> None:
    ours = publish(database, undone("a"))
    below = calls.call("below", "w", timeout=9)
    ours.publish({"name": "above", "nodes": [undone("p"), below], "edges": ["p >> below"]})
    run_id = ours.start("above")
    attempts.end(ours, attempts.take(ours, "p"))
    attempts.end(ours, attempts.take(ours, "below"))
    calls.pass_on(ours)
    held = attempts.take(ours, "a")
    if ask is None:
        attempts.outrun(ours, run_id, "below")
    else:
        ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough", compensate=ask))
    attempts.end(ours, held)
    ours.relays.sort(key=lambda relay: relay.outbox_id, reverse=first == "ended")
    act(ours, (), run_id, "compensated")
    called = calls.child(ours, run_id)
    assert (called.status, order(ours, called.id)) == ("compensated", ["a"])
    assert_run_sound(ours.deps, called.id)


@pytest.mark.parametrize("aborted", [False, True], ids=["failed", "aborted"])
def test_a_called_run_undoes_a_step(database: Database, aborted: bool) -> None:
    """It draws on no budget: nothing is refused to an undoing."""
    ours = publish(database, probe("frees", estimated_cost_cents=5))
    calls_one = {"type": "subworkflow", "workflow": "w", "inputs": {"seat": "{{a.seat}}"}}
    last = {"id": "stands", "type": "signal", "signal": "never"} if aborted else FAILS
    ours.publish(
        {
            "name": "above",
            "nodes": [undone("a", {"succeed": {"seat": 7}}, calls_one, estimated_cost_cents=4), last],
            "edges": [f"a >> {last['id']}"],
            "budget": {"limit_cents": 4},
        }
    )
    run_id = ours.run("above")
    effects = runs.abort(ours.deps, ours.actor, run_id, "enough", compensate=True) if aborted else ()
    act(ours, effects, run_id, "compensated")
    (called,) = calls.called(ours, run_id)
    assert (called.status, called.parent_step) == ("success", "a:compensate")
    with ours.deps.db.read() as session:
        given = session.get_one(RunData, called.id).inputs
    assert given == {"seat": 7}
    assert_run_sound(ours.deps, called.id)


def ended_of(ours: Engine, workflow: str, status: str) -> str:
    run_id = ours.run(workflow)
    act(ours, (), run_id, status)
    return run_id
