"""What was undone is done anew, gone back to or forked; what succeeds late is undone."""


import pytest

from models.database import Database
from models.errors import ConflictError
from orchestrator.core.outcome import Succeeded
from orchestrator.services import control, forking, restoring, waking
from orchestrator.services.reaching import Wanted
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.probes import NAME, ended, probe, publish
from tests.support.soundness import assert_run_sound
from tests.support.undone import FAILS, act, compensate, order, outputs, stuck, told, undone


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
