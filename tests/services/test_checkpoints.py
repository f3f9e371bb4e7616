"""Checkpoints: named and automatic, listed, gone back to, compared."""

from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError, InvalidError, NotFoundError
from orchestrator.services import checkpoints, control, restoring, run_views, runs, variables
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.reaching import Wanted as Step
from orchestrator.services.restoring import Wanted
from tests.support import attempts, bodies, engine, probes
from tests.support.bodies import body, definition
from tests.support.engine import Engine
from tests.support.probes import NAME, probe
from tests.support.soundness import assert_run_sound

CHAIN = [probe("a"), probe("b", {"succeed": {"of": "b"}}), probe("c", {"succeed": {"of": "c"}})]


def listed(ours: Engine, run_id: str, **request: Any) -> list[dict[str, Any]]:
    page = checkpoints.page(ours.deps, ours.actor, run_id, PageRequest(**{"limit": 200, **request}))
    return list(page["items"])


def names(ours: Engine, run_id: str) -> list[str]:
    return [each["name"] for each in listed(ours, run_id)]


def restore(ours: Engine, run_id: str, checkpoint: str, **more: Any) -> None:
    """Go back, and on from there as far as it goes by itself."""
    ours.send(restoring.restore(ours.deps, ours.actor, Wanted(run_id=run_id, checkpoint=checkpoint, **more)))
    assert_run_sound(ours.deps, run_id)
    ours.drain()


def numbers(ours: Engine, run_id: str, *paths: str) -> list[list[str]]:
    """What became of each attempt of steps; `copied` where it has no worker and no cost of its own."""
    return [
        ["copied" if attempt.worker is None else attempt.status for attempt in attempts.attempts(ours, run_id, path)]
        for path in paths
    ]


def test_each_step_ends_with_a_checkpoint_and_people_make_their_own(database: Database) -> None:
    ours = probes.publish(database, *CHAIN, edges=["a >> b >> c"])
    run_id = ours.start(NAME)
    attempts.end(ours, attempts.take(ours, "a"))
    made = checkpoints.create(ours.deps, ours.actor, run_id, "before-the-mail", "to be safe")
    assert (made["name"], made["automatic"], made["actor"], made["reason"]) == (
        "before-the-mail", False, "test", "to be safe",
    )  # fmt: skip
    probes.ends(ours, run_id, "success")
    assert names(ours, run_id) == ["after:a", "before-the-mail", "after:b", "after:c"]
    found = listed(ours, run_id)
    assert [each["automatic"] for each in found] == [True, False, True, True]
    assert [each["seq"] for each in found] == sorted(each["seq"] for each in found)
    first = checkpoints.page(ours.deps, ours.actor, run_id, PageRequest(limit=3))
    rest = listed(ours, run_id, cursor=first["next_cursor"])
    assert [each["name"] for each in (*first["items"], *rest)] == names(ours, run_id)


def test_names_are_given_once_and_are_names(database: Database) -> None:
    ours = probes.publish(database, probe("a"))
    run_id = probes.ended(ours)
    checkpoints.create(ours.deps, ours.actor, run_id, "one", "")
    with pytest.raises(ConflictError, match="has a checkpoint 'one' already"):
        checkpoints.create(ours.deps, ours.actor, run_id, "one", "")
    for name in ("Upper", "", "x" * 65, "after:a", "before:x", "17", "with space", "é"):
        with pytest.raises(InvalidError) as refused:
            checkpoints.create(ours.deps, ours.actor, run_id, name, "")
        assert [p.pointer for p in refused.value.problems] == ["/name"]


def test_what_was_decided_since_is_done_again(database: Database) -> None:
    ours = probes.publish(database, *CHAIN, edges=["a >> b >> c"])
    run_id = probes.ended(ours)
    restore(ours, run_id, "after:a", reason="another prompt")
    probes.ends(ours, run_id, "success")
    assert numbers(ours, run_id, *"abc") == [["success"], ["success"] * 2, ["success"] * 2]
    assert attempts.step(ours, run_id, "b").idempotency_key == f"{run_id}:b:r1"
    told = [e for e in attempts.events(ours, run_id) if e.type in ("run.reopened", "checkpoint.restored")]
    assert [(e.actor, e.data["reason"], e.data["checkpoint"]) for e in told] == [
        ("test", "another prompt", "after:a")
    ] * 2
    assert names(ours, run_id)[3:] == [f"before:restore:{told[0].seq - 1}", "after:b:2", "after:c:2"]


def test_a_rerun_is_undone(database: Database) -> None:
    does = [{"succeed": {"good": True}}, {"succeed": {"good": False}}]
    ours = probes.publish(database, probe("a"), probe("b", does), probe("c"), edges=["a >> b >> c"])
    run_id = probes.ended(ours)
    ours.send(control.rerun(ours.deps, ours.actor, Step(run_id=run_id, path="b")))
    probes.ends(ours, run_id, "success")
    assert run_views.run(ours.deps, ours.actor, run_id)["outputs"] == {"c": {"good": False}}
    (before,) = [name for name in names(ours, run_id) if name.startswith("before:rerun:")]
    restore(ours, run_id, before)
    probes.ends(ours, run_id, "success")
    assert run_views.run(ours.deps, ours.actor, run_id)["outputs"] == {"c": {"good": True}}
    twice = ["success", "success", "copied"]
    assert numbers(ours, run_id, *"abc") == [["success"], twice, twice]
    cost = [attempt.cost_microcents for attempt in attempts.attempts(ours, run_id, "b")]
    assert cost[2] == 0


def test_variables_stand_as_they_stood(database: Database) -> None:
    nodes = [probe("a"), {"id": "b", "type": "set", "values": {"late": 1, "seen": 2}}, probe("c", {"wait": "long"})]
    ours = probes.publish(database, *nodes, edges=["a >> b >> c"], variables={"seen": 0})
    run_id = ours.run(NAME)
    variables.update(ours.deps, ours.actor, run_id, {"more": True}, "")
    checkpoints.create(ours.deps, ours.actor, run_id, "all-three", "")
    ours.send(control.complete(ours.deps, ours.actor, Step(run_id=run_id, path="c"), 1))
    probes.ends(ours, run_id, "success")
    wanted = Wanted(run_id=run_id, checkpoint=str(3))
    ours.send(restoring.restore(ours.deps, ours.actor, wanted))
    assert ours.data(run_id).variables == {"seen": 0}
    ours.drain()
    assert ours.data(run_id).variables == {"seen": 2, "late": 1}
    restore(ours, run_id, "all-three")
    assert ours.data(run_id).variables == {"seen": 2, "late": 1, "more": True}
    assert ours.statuses(run_id) == {"a": "success", "b": "success", "c": "waiting"}


def test_what_goes_on_since_then_is_let_go_on(database: Database) -> None:
    nodes = [probe("a"), probe("slow"), probe("b")]
    ours = probes.publish(database, *nodes, edges=["a >> b"])
    run_id = ours.start(NAME)
    held = attempts.take(ours, "slow")
    checkpoints.create(ours.deps, ours.actor, run_id, "begun", "")
    ours.drain()
    restore(ours, run_id, "begun")
    attempts.end(ours, held)
    probes.ends(ours, run_id, "success")
    assert numbers(ours, run_id, "slow", "b") == [["success"], ["success", "success"]]


def test_what_began_since_is_given_up(database: Database) -> None:
    ours = probes.publish(database, probe("a"), probe("b"), edges=["a >> b"])
    run_id = ours.start(NAME)
    checkpoints.create(ours.deps, ours.actor, run_id, "fresh", "")
    attempts.end(ours, attempts.take(ours, "a"))
    held = attempts.take(ours, "b")
    restore(ours, run_id, "fresh")
    attempts.end(ours, held)
    probes.ends(ours, run_id, "success")
    assert numbers(ours, run_id, "b") == [["fenced", "success"]]


def test_an_external_commitment_that_is_under_way_is_waited_for(database: Database) -> None:
    ours = probes.publish(database, probe("a"), probes.external("pay"), edges=["a >> pay"])
    run_id = ours.start(NAME)
    checkpoints.create(ours.deps, ours.actor, run_id, "fresh", "")
    attempts.end(ours, attempts.take(ours, "a"))
    held = attempts.take(ours, "pay")
    with pytest.raises(ConflictError, match="external commitment"):
        restore(ours, run_id, "fresh")
    attempts.end(ours, held)
    probes.ends(ours, run_id, "success")


def test_a_loop_goes_back_to_an_earlier_iteration(database: Database) -> None:
    loop = {
        "id": "each",
        "type": "loop",
        "mode": "for_each",
        "items": ["x", "y", "z"],
        "collect": {"at": "{{item}}"},
        "body": body(probe("one"), probe("two"), edges=["one >> two"]),
    }
    ours = engine.make(database)
    ours.publish(definition(loop))
    run_id = ours.start("w")
    bodies.drive(ours, run_id)
    outputs = run_views.run(ours.deps, ours.actor, run_id)["outputs"]
    log = attempts.events(ours, run_id)
    seq = next(e.seq for e in log if e.type == "step.completed" and e.step == "each[1]/one")
    restore(ours, run_id, str(seq))
    bodies.drive(ours, run_id)
    probes.ends(ours, run_id, "success")
    assert run_views.run(ours.deps, ours.actor, run_id)["outputs"] == outputs
    paths = [f"each[{place}]/{name}" for place in range(3) for name in ("one", "two")]
    assert [len(found) for found in numbers(ours, run_id, *paths)] == [1, 1, 1, 2, 2, 2]


def test_what_cannot_be_gone_back_to_says_why(database: Database) -> None:
    ours = probes.publish(database, probe("a", {"wait": "long"}))
    run_id = ours.run(NAME)
    with pytest.raises(NotFoundError, match="no checkpoint 'nowhere'"):
        restore(ours, run_id, "nowhere")
    with pytest.raises(InvalidError, match="none of number 99"):
        restore(ours, run_id, "99")
    assert names(ours, run_id) == [], "what is refused leaves nothing"


def test_going_back_under_one_key_is_done_once(database: Database) -> None:
    ours = probes.publish(database, probe("a"), probe("b"), edges=["a >> b"])
    run_id = probes.ended(ours)

    def again() -> None:
        once = Once(workspace_id=ours.actor.workspace_id, key="k", digest="d", status=200)
        wanted = Wanted(run_id=run_id, checkpoint="after:a")
        ours.send(restoring.restore(ours.deps, ours.actor, wanted, once))

    again()
    seq = ours.row(run_id).seq
    again()
    assert ours.row(run_id).seq == seq
    probes.ends(ours, run_id, "success")


def test_a_paused_run_stays_paused(database: Database) -> None:
    ours = probes.publish(database, probe("a"), probe("b"), edges=["a >> b"])
    run_id = ours.start(NAME)
    checkpoints.create(ours.deps, ours.actor, run_id, "fresh", "")
    attempts.end(ours, attempts.take(ours, "a"))
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    restore(ours, run_id, "fresh")
    assert (ours.row(run_id).status, ours.statuses(run_id)["a"]) == ("paused", "queued")
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    probes.ends(ours, run_id, "success")


def test_two_positions_are_compared(database: Database) -> None:
    nodes = [probe("a", {"succeed": 1}), {"id": "b", "type": "set", "values": {"x": 1, "y": [2]}}, probe("c")]
    ours = probes.publish(database, *nodes, edges=["a >> b >> c"], variables={"x": 0})
    run_id = probes.ended(ours)
    found = checkpoints.compare(ours.deps, ours.actor, run_id, "after:a", str(ours.row(run_id).seq))
    assert found["from"]["name"] == "after:a"
    steps = {each["path"]: each for each in found["steps"]}
    assert steps.keys() == {"b", "c"}
    assert steps["c"]["from"] == {"status": "pending", "attempt": 0}
    assert steps["c"]["to"] == {"status": "success", "attempt": 1}
    assert steps["c"]["output"] == {"from": None, "to": {"value": 1}}
    assert found["variables"] == {
        "added": [{"pointer": "/y", "value": [2]}],
        "removed": [],
        "changed": [{"pointer": "/x", "from": 0, "to": 1}],
    }
