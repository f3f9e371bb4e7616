"""A run that fails undoes what it has done, the step that completed last first."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models.database import Database
from models.errors import ConflictError
from models.event import Event
from models.run import RunData
from models.step import Attempt, Step
from orchestrator.core.outcome import Succeeded
from orchestrator.services import control, forking, restoring, runs, undoing, waking
from orchestrator.services.reaching import Wanted
from tests.support import attempts, calls
from tests.support.engine import Engine
from tests.support.probes import NAME, ended, probe, publish
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


def test_one_that_fails_for_good_leaves_the_run_failed(database: Database) -> None:
    ours, run_id = stuck(database)
    assert ours.statuses(run_id) == {
        "a": "success", "b": "failed", "c": "compensated", "d": "success", "fails": "failed",
        "b:compensate": "failed", "c:compensate": "success",
    }  # fmt: skip
    assert ours.row(run_id).error["step"] == "fails"
    assert told(ours, run_id, "step.compensation_failed") == [("step.compensation_failed", "b")]


def compensate(ours: Engine, run_id: str) -> Any:
    return undoing.compensate(ours.deps, ours.actor, run_id, "again")


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


def test_what_was_undone_is_done_anew(database: Database) -> None:
    ours = publish(
        database, undone("a"), undone("b"), probe("c", [{"fail": "NETWORK"}, {}]), undone("x"),
        edges=["a >> b >> c", "a >> x"],
    )  # fmt: skip
    run_id = ours.run("w")
    assert ours.row(run_id).status == "compensated"
    effects = control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path="c"))
    act(ours, effects, run_id, "success")
    assert {s for p, s in ours.statuses(run_id).items() if ":" not in p} == {"success"}
    act(ours, compensate(ours, run_id), run_id, "compensated")


def test_what_is_behind_undone_steps_is_not_completed_by_hand(database: Database) -> None:
    ours = publish(database, undone("a"), probe("b", {"fail": "NETWORK"}), edges=["a >> b"])
    run_id = ended(ours, "compensated")
    with pytest.raises(ConflictError, match="rerun a"):
        control.complete(ours.deps, ours.actor, Wanted(run_id=run_id, path="b"), {})
    assert_run_sound(ours.deps, run_id)


def test_a_late_success_of_what_a_later_attempt_did_and_was_undone(database: Database) -> None:
    """Both attempts had one effect, by their key: it is undone once, and holds up nothing before it."""
    ours = publish(database, undone("a"), undone("b"), undone("c"), FAILS, edges=["a >> b >> c >> fails"])
    run_id = ours.start(NAME)
    for path in ("a", "b"):
        attempts.end(ours, attempts.take(ours, path))
    held = attempts.take(ours, "c")
    attempts.lose(ours, held)
    for path in ("c", "fails", "c:compensate"):
        attempts.end(ours, attempts.take(ours, path))
    attempts.end(ours, held)
    assert told(ours, run_id, "step.compensating", "step.fenced") == [
        ("step.compensating", "c"),
        ("step.compensating", "b"),
        ("step.fenced", None),
    ]
    act(ours, (), run_id, "compensated")
    assert order(ours, run_id) == ["c", "b", "a"]


def test_branches_are_done_anew_and_undone_again(database: Database) -> None:
    each = {
        "id": "each", "type": "parallel", "items": [1, 2],
        "body": {"nodes": [undone("x")], "edges": []},
    }  # fmt: skip
    ours = publish(database, each, probe("c", [{"fail": "NETWORK"}, {}]), edges=["each >> c"])
    run_id = ended(ours, "compensated")
    effects = control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path="c"))
    act(ours, effects, run_id, "success")
    act(ours, compensate(ours, run_id), run_id, "compensated")
    assert len(order(ours, run_id)) == 4


def chained(database: Database) -> tuple[Engine, str]:
    """A run that was undone; done a second time it goes through."""
    nodes = [undone("a"), undone("b"), probe("c"), probe("d", [{"fail": "NETWORK"}, {}])]
    ours = publish(database, *nodes, edges=["a >> b >> c >> d"])
    return ours, ended(ours, "compensated")


def told_at(ours: Engine, run_id: str, type_: str) -> str:
    """The number of the first event of a type."""
    return str(next(e.seq for e in attempts.events(ours, run_id) if e.type == type_))


def since(ours: Engine, run_id: str, seq: int) -> list[str | None]:
    return [e.step for e in attempts.events(ours, run_id) if e.seq > seq and e.type == "step.started"]


@pytest.mark.parametrize("name", ["after:a", "after:c", "undone", "end"])
def test_a_restore_does_anew_what_was_undone(database: Database, name: str) -> None:
    ours, run_id = chained(database)
    seq = ours.row(run_id).seq
    places = {"undone": told_at(ours, run_id, "step.compensated"), "end": str(seq)}
    wanted = restoring.Wanted(run_id=run_id, checkpoint=places.get(name, name))
    act(ours, restoring.restore(ours.deps, ours.actor, wanted), run_id, "success")
    assert since(ours, run_id, seq) == ["a", "b", "c", "d"]
    act(ours, compensate(ours, run_id), run_id, "compensated")
    assert order(ours, run_id) == ["b", "a", "b", "a"]


@pytest.mark.parametrize("name", ["after:a", "after:c", "undone", "end"])
def test_a_fork_does_again_what_was_undone(database: Database, name: str) -> None:
    ours, run_id = chained(database)
    places = {"undone": told_at(ours, run_id, "step.compensated"), "end": str(ours.row(run_id).seq)}
    wanted = forking.Wanted(run_id=run_id, checkpoint=places.get(name, name))
    forked = forking.fork(ours.deps, ours.actor, wanted)
    act(ours, forked.effects, forked.run_id, "compensated")
    assert since(ours, forked.run_id, 0)[:4] == ["a", "b", "c", "d"]


def test_a_restore_forgets_what_could_not_be_undone(database: Database) -> None:
    ours, run_id = stuck(database)
    wanted = restoring.Wanted(run_id=run_id, checkpoint="after:d")
    act(ours, restoring.restore(ours.deps, ours.actor, wanted), run_id, "compensated")
    assert order(ours, run_id) == ["c", "b", "c", "b", "a"]


def test_what_was_done_anew_since_it_was_undone_is_kept(database: Database) -> None:
    ours, run_id = chained(database)
    act(ours, control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path="d")), run_id, "success")
    seq = ours.row(run_id).seq
    for name in ("after:b:2", "after:c:2"):
        wanted = restoring.Wanted(run_id=run_id, checkpoint=name)
        act(ours, restoring.restore(ours.deps, ours.actor, wanted), run_id, "success")
    assert since(ours, run_id, seq) == ["c", "d", "d"]


def test_a_container_that_gives_something_else_when_it_is_done_anew(database: Database) -> None:
    each = {
        "id": "each", "type": "parallel", "items": [1], "compensate": {"type": "probe", "does": {}},
        "body": {"nodes": [probe("x", [{"succeed": 1}, {"succeed": 2}])], "edges": []},
    }  # fmt: skip
    ours = publish(database, each, probe("c", [{"fail": "NETWORK"}, {}]), edges=["each >> c"])
    run_id = ended(ours, "compensated")
    act(ours, control.retry(ours.deps, ours.actor, Wanted(run_id=run_id, path="c")), run_id, "success")
    act(ours, compensate(ours, run_id), run_id, "compensated")
    assert outputs(ours, run_id)["each:compensate"]["results"] == [2]


def test_what_succeeds_late_is_undone(database: Database) -> None:
    ours = publish(database, undone("a"), undone("b", {"succeed": {"late": 1}}, timeout=1), edges=["a >> b"])
    run_id = ours.start("w")
    attempts.end(ours, attempts.take(ours, "a"))
    claimed = attempts.take(ours, "b")
    attempts.outrun(ours, run_id, "b")
    act(ours, (), run_id, "compensated")
    assert order(ours, run_id) == ["a"]
    attempts.end(ours, claimed)
    act(ours, (), run_id, "compensated")
    assert order(ours, run_id) == ["a", "b"]
    assert outputs(ours, run_id)["b:compensate"] == {"late": 1}


def test_what_was_parked_and_succeeds_late_is_undone(database: Database) -> None:
    ours = publish(database, undone("a", {"wait": "an answer"}, timeout=1))
    run_id = ours.run("w")
    parked = attempts.step(ours, run_id, "a")
    attempts.outrun(ours, run_id, "a")
    answer = Succeeded(output={"late": 1})
    act(ours, waking.settle(ours.deps, run_id, parked.no, parked.attempt, answer), run_id, "compensated")
    act(ours, waking.settle(ours.deps, run_id, parked.no, parked.attempt, answer), run_id, "compensated")
    assert order(ours, run_id) == ["a"]
    assert outputs(ours, run_id)["a:compensate"] == {"late": 1}


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
