"""How many runs go on under one key: those beyond wait, are refused, or replace the oldest."""

import threading
from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError, InvalidError
from orchestrator.services import concurrency, fsck, runs, sweeps
from orchestrator.services.runs import Trigger
from tests.support.engine import Engine
from tests.support.probes import NAME, Clock, external, probe, publish
from tests.support.soundness import assert_sound

KEY = "{{inputs.account}}"


def made(database: Database, on_limit: str | None, limit: int = 1, **fields: Any) -> Engine:
    terms = {"key": KEY, "limit": limit} | ({} if on_limit is None else {"on_limit": on_limit})
    return publish(database, probe("a"), probe("b"), edges=["a >> b"], concurrency=terms, **fields)


def start(ours: Engine, account: Any = "acme", **trigger: Any) -> str:
    return ours.start(NAME, inputs={"account": account}, **trigger)


def statuses(ours: Engine, *ids: str) -> list[str]:
    return [ours.row(run_id).status for run_id in ids]


def test_runs_beyond_the_limit_wait_and_start_in_order(database: Database) -> None:
    ours = made(database, None, limit=2)
    ids = [start(ours) for _ in range(5)]
    assert statuses(ours, *ids) == ["running", "running", "pending", "pending", "pending"]
    assert statuses(ours, start(ours, "other")) == ["running"]
    ours.drain()
    assert statuses(ours, *ids) == ["success"] * 5
    begun = [ours.row(run_id).started_at for run_id in ids]
    assert begun == sorted(begun)
    assert_sound(ours.deps)


def test_a_higher_priority_starts_first(database: Database) -> None:
    ours = made(database, "queue")
    _, low, high = start(ours), start(ours), start(ours, priority=9)
    ours.drain()
    assert ours.row(high).started_at < ours.row(low).started_at
    assert_sound(ours.deps)


def test_no_more_than_the_limit_go_on_however_they_are_triggered(database: Database) -> None:
    ours = made(database, "queue", limit=3)
    lock, sent, barrier = threading.Lock(), [], threading.Barrier(8)

    def trigger() -> None:
        barrier.wait()
        created = runs.create(ours.deps, ours.actor, NAME, Trigger(inputs={"account": "acme"}))
        with lock:
            sent.append(created)

    threads = [threading.Thread(target=trigger) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = statuses(ours, *(created.run_id for created in sent))
    assert sorted(found) == ["pending"] * 5 + ["running"] * 3
    for created in sent:
        ours.send(created.effects)
    ours.drain()
    assert statuses(ours, *(created.run_id for created in sent)) == ["success"] * 8
    assert_sound(ours.deps)


def test_a_sweep_starts_what_the_end_of_a_run_did_not(database: Database) -> None:
    ours = made(database, "queue")
    first, second = start(ours), start(ours)
    lost = [effect for effect in runs.abort(ours.deps, ours.actor, first, "a test") if effect]
    assert lost
    assert statuses(ours, first, second) == ["aborted", "pending"]
    ours.inbox.clear()
    ours.send(sweeps.run(ours.deps, "due").effects)
    ours.drain()
    assert statuses(ours, second) == ["success"]
    assert_sound(ours.deps)


def test_reject_refuses_the_trigger(database: Database) -> None:
    ours = made(database, "reject")
    first = start(ours)
    with pytest.raises(
        ConflictError, match="1 of 1 runs of this workflow go on under the concurrency key 'acme'"
    ):
        start(ours)
    ours.drain()
    start(ours)
    ours.drain()
    assert statuses(ours, first) == ["success"]
    assert_sound(ours.deps)


def test_cancel_oldest_aborts_the_oldest(database: Database) -> None:
    ours = made(database, "cancel_oldest", limit=2)
    ids = [start(ours) for _ in range(4)]
    assert statuses(ours, *ids) == ["aborted", "aborted", "running", "running"]
    error = ours.row(ids[0]).error
    assert error["code"] == "CANCELLED"
    ours.drain()
    assert statuses(ours, *ids[2:]) == ["success", "success"]
    assert_sound(ours.deps)


def test_the_newest_waits_until_the_oldest_was_let_end(database: Database) -> None:
    terms = {"key": KEY, "limit": 1, "on_limit": "cancel_oldest"}
    ours = publish(
        database, external("pay", {"succeed": {}}), probe("after"), edges=["pay >> after"], concurrency=terms
    )
    first = start(ours)
    claimed = ours.carrier._claim(ours.inbox.pop(0)[0])
    assert claimed is not None
    second, third = start(ours), start(ours)
    assert statuses(ours, first, second, third) == ["running", "aborted", "pending"]
    ours.carrier.complete(claimed, ours.carrier.perform(claimed), in_chord=False, go_on=False)
    assert statuses(ours, first, third) == ["aborted", "running"]
    ours.drain()
    assert statuses(ours, third) == ["success"]
    assert_sound(ours.deps)


def test_a_waiting_run_can_be_aborted(database: Database) -> None:
    ours = made(database, "queue")
    first, second, third = start(ours), start(ours), start(ours)
    ours.send(runs.abort(ours.deps, ours.actor, second, "a test"))
    assert statuses(ours, first, second, third) == ["running", "aborted", "pending"]
    ours.drain()
    assert statuses(ours, first, third) == ["success", "success"]
    assert_sound(ours.deps)


def test_the_wait_does_not_count_for_the_timeout(database: Database) -> None:
    clock = Clock()
    terms = {"key": "k", "limit": 1}
    ours = publish(database, probe("a"), clock=clock, concurrency=terms, timeout="1h")
    first = ours.start(NAME)
    second = ours.start(NAME)
    assert ours.row(second).timeout_at is None
    clock.now += 3_000
    ours.drain()
    assert statuses(ours, first, second) == ["success", "success"]
    assert ours.row(second).timeout_at.timestamp() == clock.now + 3_600
    assert_sound(ours.deps)


def test_without_a_key_nothing_is_limited(database: Database) -> None:
    ours = publish(database, probe("a"), concurrency={"key": "{{inputs.account?}}", "limit": 1})
    ids = [ours.start(NAME), ours.start(NAME)]
    assert statuses(ours, *ids) == ["running", "running"]
    ours.drain()
    assert list(fsck.check_all(ours.deps)) == []


def test_a_key_that_does_not_resolve_is_refused(database: Database) -> None:
    ours = made(database, "queue")
    with pytest.raises(InvalidError, match="the workflow's concurrency key has no value"):
        ours.start(NAME)
    assert concurrency.sweep(ours.deps) == ()


def test_long_keys_and_those_of_other_types_are_keys(database: Database) -> None:
    ours = made(database, "queue")
    for account in ("x" * 5_000, {"id": 7}, 7, True):
        assert statuses(ours, start(ours, account), start(ours, account)) == ["running", "pending"]
    ours.drain()
    assert_sound(ours.deps)
