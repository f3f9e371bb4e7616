"""A run that fails undoes what it has done, the step that completed last first."""

from pathlib import Path
from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError
from orchestrator.services import control, forking, runs
from orchestrator.services.reaching import Wanted
from tests.support import attempts
from tests.support.probes import ended, probe, publish
from tests.support.soundness import assert_run_sound
from tests.support.undone import FAILS, act, compensate, order, outputs, stuck, told, undone


def test_a_chain_is_undone_in_reverse(database: Database) -> None:
    ours = publish(database, undone("a", {"succeed": {"id": 1}}), probe("b"), undone("c", {"succeed": 7}), FAILS,
                   edges=["a >> b >> c >> fails"])  # fmt: skip
    run_id = ended(ours, "compensated")
    assert order(ours, run_id) == ["c", "a"]
    assert ours.statuses(run_id) == {
        "a": "compensated", "b": "success", "c": "compensated", "fails": "failed",
        "a:compensate": "success", "c:compensate": "success",
    }  # fmt: skip
    assert told(ours, run_id, "run.compensating", "run.compensated", "run.failed") == [
        ("run.compensating", None),
        ("run.compensated", None),
    ]
    found = outputs(ours, run_id)
    assert (found["a:compensate"], found["c:compensate"]) == ({"id": 1}, {"value": 7})
    assert ours.row(run_id).error["step"] == "fails"


def test_without_anything_to_undo_it_fails(database: Database) -> None:
    ours = publish(database, probe("a"), FAILS, undone("never"), edges=["a >> fails >> never"])
    run_id = ended(ours, "failed")
    assert "never:compensate" not in ours.statuses(run_id)


def test_a_success_undoes_nothing(database: Database) -> None:
    ours = publish(database, undone("a"))
    assert ours.statuses(ended(ours)) == {"a": "success"}


def test_a_compensation_sees_its_owner_and_all_before_it(database: Database) -> None:
    seen = {
        "type": "probe",
        "input_mapping": {"own": "{{b.n}}", "before": "{{a.n}}", "given": "{{inputs.x}}"},
    }
    ours = publish(
        database,
        undone("a", {"succeed": {"n": 1}}),
        undone("b", {"succeed": {"n": 2}}, seen),
        FAILS,
        edges=["a >> b >> fails"],
    )
    run_id = ended(ours, "compensated", inputs={"x": 3})
    assert outputs(ours, run_id)["b:compensate"] == {"n": 2, "own": 2, "before": 1, "given": 3}


def test_inline_compensations(database: Database) -> None:
    ours = publish(
        database,
        undone("a", undoing={"type": "set", "values": {"undone": "{{a.n}}"}}, does={"succeed": {"n": 5}}),
        undone("b", undoing={"type": "noop"}),
        FAILS,
        edges=["a >> b >> fails"],
    )
    run_id = ended(ours, "compensated")
    assert ours.data(run_id).variables == {"undone": 5}
    assert outputs(ours, run_id)["b:compensate"] == {"n": 5}


def test_its_key_is_that_of_its_owner(database: Database, tmp_path: Path) -> None:
    log = tmp_path / "log"
    undoing = {"type": "probe", "does": {}, "log": str(log)}
    own = undone("a", undoing=undoing, idempotency_key="pay-{{inputs.x}}")
    ours = publish(database, own, undone("b", undoing=undoing), FAILS, edges=["a >> b >> fails"])
    run_id = ended(ours, "compensated", inputs={"x": 3})
    assert [line.split()[1:4] for line in log.read_text().splitlines()] == [
        ["b:compensate", "1", f"{run_id}:b:compensate"],
        ["a:compensate", "1", "pay-3:compensate"],
    ]


def test_it_is_retried(database: Database) -> None:
    undoing = {"type": "probe", "does": [{"fail": "NETWORK"}, {}], "retry": {"max_attempts": 2, "initial": 0}}
    ours = publish(database, undone("a", undoing=undoing), FAILS, edges=["a >> fails"])
    run_id = ours.run("w")
    ours.sweep()
    ours.drain()
    assert ours.row(run_id).status == "compensated"
    assert_run_sound(ours.deps, run_id)


def test_every_step_of_every_branch(database: Database) -> None:
    each = {
        "id": "each", "type": "parallel", "items": [1, 2], "max_concurrency": 1,
        "body": {"nodes": [undone("x", {"succeed": {"n": "{{item}}"}}), undone("y")], "edges": ["x >> y"]},
        "compensate": {"type": "probe", "does": {}},
    }  # fmt: skip
    ours = publish(database, undone("a"), each, undone("b"), FAILS, edges=["a >> each >> b >> fails"])
    run_id = ended(ours, "compensated")
    assert order(ours, run_id) == ["b", "each", "each[1]/y", "each[1]/x", "each[0]/y", "each[0]/x", "a"]
    found = outputs(ours, run_id)
    assert found["each[1]/x:compensate"] == {"n": 2}
    assert found["each:compensate"]["count"] == 2
    assert len(found["each:compensate"]["results"]) == 2


def test_one_that_fails_for_good_leaves_the_run_failed(database: Database) -> None:
    ours, run_id = stuck(database)
    assert ours.statuses(run_id) == {
        "a": "success", "b": "failed", "c": "compensated", "d": "success", "fails": "failed",
        "b:compensate": "failed", "c:compensate": "success",
    }  # fmt: skip
    assert ours.row(run_id).error["step"] == "fails"
    assert told(ours, run_id, "step.compensation_failed") == [("step.compensation_failed", "b")]


@pytest.mark.parametrize("path", [None, "b", "b:compensate"])
def test_it_is_tried_again(database: Database, path: str | None) -> None:
    ours, run_id = stuck(database)
    if path is None:
        effects = compensate(ours, run_id)
    else:
        effects = control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path=path))
    act(ours, effects, run_id, "compensated")
    assert order(ours, run_id) == ["c", "b", "b", "a"]
    assert ours.row(run_id).error["step"] == "fails"


@pytest.mark.parametrize("how", [control.skip, control.rerun])
def test_no_other_act_on_a_compensation(database: Database, how: Any) -> None:
    ours, run_id = stuck(database)
    with pytest.raises(ConflictError, match="b:compensate is a compensation"):
        how(ours.deps, ours.actor, Wanted(run_id=run_id, path="b:compensate"))


def test_no_skipping_of_what_could_not_be_undone(database: Database) -> None:
    ours, run_id = stuck(database)
    with pytest.raises(ConflictError, match="b could not be undone"):
        control.skip(ours.deps, ours.actor, Wanted(run_id=run_id, path="b"))


def test_a_success_is_undone_by_hand_once(database: Database) -> None:
    ours = publish(database, undone("a"), undone("b"), edges=["a >> b"])
    run_id = ended(ours)
    act(ours, compensate(ours, run_id), run_id, "compensated")
    assert order(ours, run_id) == ["b", "a"]
    with pytest.raises(ConflictError, match="nothing is left to be undone"):
        compensate(ours, run_id)


def test_a_run_that_goes_on_is_not_compensated_by_hand(database: Database) -> None:
    ours = publish(database, undone("a"))
    run_id = ours.start("w")
    with pytest.raises(ConflictError, match="abort it with compensate"):
        compensate(ours, run_id)


def test_an_abort_undoes_where_it_is_asked(database: Database) -> None:
    ours = publish(database, undone("a"), probe("b"), edges=["a >> b"])
    for ask, status in ((True, "compensated"), (False, "aborted")):
        run_id = ours.start("w")
        attempts.end(ours, attempts.take(ours, "a"))
        claimed = attempts.take(ours, "b")
        act(ours, runs.abort(ours.deps, ours.actor, run_id, "enough", compensate=ask), run_id, status)
        attempts.end(ours, claimed)
        assert ours.row(run_id).error["message"] == "enough"
        assert_run_sound(ours.deps, run_id)


def test_an_abort_waits_for_what_is_let_end(database: Database) -> None:
    ours = publish(database, undone("a"))
    run_id = ours.start("w")
    claimed = attempts.take(ours, "a")
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough", compensate=True))
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    assert (ours.row(run_id).status, ours.row(run_id).stopping) == ("running", "compensating")
    attempts.end(ours, claimed)
    act(ours, (), run_id, "compensated")
    assert order(ours, run_id) == ["a"]


def test_a_compensating_run_is_neither_paused_nor_aborted_nor_forked(database: Database) -> None:
    ours = publish(database, undone("a"), FAILS, edges=["a >> fails"])
    run_id = ours.start("w")
    while ours.row(run_id).status != "compensating":
        message, in_chord = ours.inbox.pop(0)
        ours.carrier.carry(message, in_chord=in_chord)
    origin = forking.Wanted(run_id=run_id, from_step="fails")
    for refused in (
        lambda: forking.fork(ours.deps, ours.actor, origin),
        lambda: runs.abort(ours.deps, ours.actor, run_id, ""),
        lambda: runs.pause(ours.deps, ours.actor, run_id, ""),
        lambda: control.rerun(ours.deps, ours.actor, Wanted(run_id=run_id, path="a")),
        lambda: compensate(ours, run_id),
    ):
        with pytest.raises(ConflictError, match="compensating"):
            refused()
    act(ours, (), run_id, "compensated")


def test_a_lost_worker_is_made_good(database: Database) -> None:
    ours = publish(database, undone("a"), FAILS, edges=["a >> fails"])
    run_id = ours.start("w")
    while not any(message.path == "a:compensate" for message, _ in ours.inbox):
        message, in_chord = ours.inbox.pop(0)
        ours.carrier.carry(message, in_chord=in_chord)
    attempts.lose(ours, attempts.take(ours, "a:compensate"))
    act(ours, (), run_id, "compensated")


def test_money_refuses_no_compensation(database: Database) -> None:
    undoing_ = {
        "type": "probe",
        "does": {"succeed": 1, "usage": {"cost_microcents": 7_000_000}},
        "estimated_cost_cents": 50,
    }
    costly = {"succeed": 1, "usage": {"cost_microcents": 9_000_000}}
    ours = publish(
        database, undone("a", costly, undoing_), FAILS, edges=["a >> fails"], budget={"limit_cents": 10}
    )
    run_id = ended(ours, "compensated")
    assert ours.row(run_id).cost_microcents == 16_000_000
