"""A parked attempt that goes on: under its number, with what is left of its time, and never twice at once."""

from datetime import timedelta

import pytest

from models.database import Database
from orchestrator.core.effects import Message
from orchestrator.core.outcome import Succeeded
from orchestrator.services import claiming, performing, runs, waking
from orchestrator.services.claiming import Claimed
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.histories import execute, moment
from tests.support.probes import NAME, ends, probe, publish

PARKS = {"wait": "its turn"}


def parked(database: Database, **fields: object) -> tuple[Engine, str, Message]:
    ours = publish(database, probe("a", PARKS, **fields), probe("b"), edges=["a >> b"])
    run_id = ours.run(NAME)
    return ours, run_id, Message(run_id=run_id, no=0, path="a", attempt=1)


def resumed(ours: Engine, message: Message) -> Claimed | None:
    info = ours.deps.runs.get(message.run_id)
    assert info is not None
    with ours.deps.db.transaction() as session:
        return claiming.resume(ours.deps, session, info, message.no, message.attempt)


def finish(ours: Engine, claimed: Claimed) -> None:
    """It parks once more, and its answer comes."""
    attempts.end(ours, claimed)
    ours.send(waking.settle(ours.deps, claimed.info.id, claimed.no, claimed.attempt, Succeeded(output=1)))


def test_a_resumed_attempt_is_executed_again(database: Database) -> None:
    ours, run_id, message = parked(database)
    ours.carrier.resume(message)
    told = attempts.told(ours, run_id)
    assert told[2:] == ["step.queued", "step.started", "step.waiting", "step.resumed", "step.waiting"]
    assert len(attempts.attempts(ours, run_id, "a")) == 1
    ours.send(waking.settle(ours.deps, run_id, 0, 1, Succeeded(output=1)))
    ends(ours, run_id, "success")


def test_a_second_resume_finds_nothing_to_do(database: Database) -> None:
    ours, run_id, message = parked(database)
    claimed = resumed(ours, message)
    assert claimed is not None
    assert resumed(ours, message) is None
    finish(ours, claimed)
    assert resumed(ours, message) is None
    ends(ours, run_id, "success")


def test_a_resumed_attempt_keeps_its_time(database: Database) -> None:
    ours, run_id, message = parked(database, timeout="5m")
    before = attempts.step(ours, run_id, "a").timeout_at
    assert before is not None
    execute(
        ours,
        "UPDATE step SET timeout_at = :at WHERE run_id = :run AND path = 'a'",
        at=moment(ours, before - timedelta(minutes=4)),
        run=run_id,
    )
    claimed = resumed(ours, message)
    assert claimed is not None
    ctx, _ = performing.prepare(ours.deps, claimed, performing.names_of(ours.deps, claimed))
    assert 30 < ctx.remaining(3_600) < 61
    assert attempts.step(ours, run_id, "a").timeout_at == before - timedelta(minutes=4)
    finish(ours, claimed)
    ends(ours, run_id, "success")


def test_a_resumed_attempt_whose_worker_is_lost_is_tried_again(database: Database) -> None:
    ours, run_id, message = parked(database)
    claimed = resumed(ours, message)
    assert claimed is not None
    attempts.lose(ours, claimed)
    assert ours.statuses(run_id)["a"] == "queued"
    ours.drain()
    assert [row.status for row in attempts.attempts(ours, run_id, "a")] == ["lost", "waiting"]
    ours.send(waking.settle(ours.deps, run_id, 0, 2, Succeeded(output=1)))
    ends(ours, run_id, "success")


@pytest.mark.parametrize("act", ["pause", "abort"])
def test_nothing_is_resumed_in_a_run_that_does_not_go_on(database: Database, act: str) -> None:
    ours, run_id, message = parked(database)
    if act == "pause":
        runs.pause(ours.deps, ours.actor, run_id, "lunch")
    else:
        ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    assert resumed(ours, message) is None
    assert "step.resumed" not in attempts.told(ours, run_id)


def test_a_resumed_attempt_keeps_its_reservation(database: Database) -> None:
    ours = publish(database, probe("a", PARKS, estimated_cost_cents=4), budget={"limit_cents": 5})
    run_id = ours.run(NAME)
    claimed = resumed(ours, Message(run_id=run_id, no=0, path="a", attempt=1))
    assert claimed is not None
    assert claimed.reserved == 4_000_000
    finish(ours, claimed)
    ends(ours, run_id, "success")
    assert ours.row(run_id).cost_microcents == 4_000_000
