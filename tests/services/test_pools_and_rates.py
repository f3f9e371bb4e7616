"""Slots that steps take while they live, and keys that let so many through in a time."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from models.database import Database
from models.queries import pools as queries
from orchestrator.core import lanes
from orchestrator.core.effects import Message
from orchestrator.core.lanes import Kind, Lane
from orchestrator.services import pools, runs, steps, sweeps
from orchestrator.services.claiming import Claimed
from orchestrator.services.idempotency import Once
from tests.support.engine import Engine, NoLeases
from tests.support.probes import NAME, ends, probe, publish
from tests.support.soundness import assert_sound


def put(ours: Engine, size: int, name: str = "gpu") -> None:
    pools.put(ours.deps, ours.actor, name, size, Once())


def made(database: Database, width: int, *, size: int | None = 2, **node: Any) -> Engine:
    ours = publish(database, *(probe(f"n{n}", **({"pool": "gpu"} | node)) for n in range(width)))
    if size is not None:
        put(ours, size)
    return ours


def pool(ours: Engine) -> tuple[int, int]:
    found = pools.get(ours.deps, ours.actor, "gpu")
    return found["taken"], found["waiting"]


def claim(ours: Engine) -> list[Claimed]:
    """Claim what the queue holds; the bodies go on."""
    found = []
    while ours.inbox:
        claimed = ours.carrier._claim(ours.inbox.pop(0)[0])
        found += [] if claimed is None else [claimed]
    return found


def end(ours: Engine, claimed: Claimed) -> None:
    ours.carrier.complete(claimed, ours.carrier.perform(claimed), in_chord=False, go_on=False)


def later(ours: Engine, seconds: float) -> None:
    """All that was claimed was so earlier."""
    earlier = ":s" if ours.deps.db.is_sqlite else "make_interval(secs => :s)"
    with ours.deps.db.transaction() as session:
        session.execute(text(f"UPDATE attempt SET claimed_at = claimed_at - {earlier}"), {"s": seconds})


def test_no_more_run_than_there_are_slots(database: Database) -> None:
    ours = made(database, 6)
    run_id = ours.start(NAME)
    running = claim(ours)
    assert (len(running), pool(ours)) == (2, (2, 4))
    for _ in range(4):
        end(ours, running.pop(0))
        running += claim(ours)
        assert (len(running), pool(ours)[0]) == (2, 2)
    for claimed in running:
        end(ours, claimed)
    ends(ours, run_id, "success")
    assert pool(ours) == (0, 0)


def test_a_step_may_take_several_and_none_overtakes_it(database: Database) -> None:
    ours = publish(
        database,
        probe("one", pool="gpu"),
        probe("wide", pool="gpu", slots=2),
        probe("other", pool="gpu"),
    )
    put(ours, 2)
    run_id = ours.start(NAME)
    (first,) = claim(ours)
    assert first.path == "one"
    end(ours, first)
    (second,) = claim(ours)
    assert (second.path, pool(ours)) == ("wide", (2, 1))
    end(ours, second)
    ends(ours, run_id, "success")


def test_pools_are_of_a_workspace_and_shared_by_its_workflows(database: Database) -> None:
    ours = made(database, 2, size=3)
    first, second = ours.start(NAME), ours.start(NAME)
    assert len(claim(ours)) == 3
    assert pool(ours) == (3, 1)
    for run_id in (first, second):
        ours.send(runs.abort(ours.deps, ours.actor, run_id, "a test"))
    assert pool(ours) == (0, 0)
    assert_sound(ours.deps)


def test_without_a_pool_steps_wait_until_there_is_one(database: Database) -> None:
    ours = made(database, 1, size=None)
    run_id = ours.run(NAME)
    assert set(ours.statuses(run_id).values()) == {"queued"}
    put(ours, 1)
    ours.sweep()
    ends(ours, run_id, "success")
    pools.remove(ours.deps, ours.actor, "gpu", Once())


def test_a_lost_worker_gives_its_slot_back(database: Database) -> None:
    ours = made(database, 2, size=1)
    run_id = ours.start(NAME)
    assert len(claim(ours)) == 1
    with ours.deps.db.transaction() as session:
        ago = "lease_until - 60" if ours.deps.db.is_sqlite else "lease_until - interval '60 seconds'"
        session.execute(text(f"UPDATE step SET lease_until = {ago} WHERE status = 'running'"))
        session.execute(text("DELETE FROM stamp"))
    ours.sweep()  # the first contact
    with ours.deps.db.transaction() as session:
        ago = "at - 60" if ours.deps.db.is_sqlite else "at - interval '60 seconds'"
        session.execute(text(f"UPDATE stamp SET at = {ago} WHERE name = 'leases.contact'"))
    ours.send(sweeps.run(ours.deps, "leases").effects)
    assert pool(ours)[0] == 0
    while "success" not in ours.statuses(run_id).values() or "queued" in ours.statuses(run_id).values():
        ours.sweep()
        ours.drain()
    ends(ours, run_id, "success")


def test_a_retried_step_waits_without_its_slot(database: Database) -> None:
    ours = publish(
        database,
        probe("a", [{"fail": "NETWORK"}, {}], pool="gpu", retry={"max_attempts": 2, "initial": "1h"}),
        probe("b", pool="gpu"),
    )
    put(ours, 1)
    run_id = ours.run(NAME)
    assert ours.statuses(run_id) == {"a": "retrying", "b": "success"}
    assert pool(ours) == (0, 0)
    assert_sound(ours.deps)


def test_a_parked_step_keeps_its_slot(database: Database) -> None:
    ours = publish(
        database, probe("a", {"wait": "a call", "seconds": 3600}, pool="gpu"), probe("b", pool="gpu")
    )
    put(ours, 1)
    run_id = ours.run(NAME)
    assert ours.statuses(run_id) == {"a": "waiting", "b": "queued"}
    assert pool(ours) == (1, 1)
    assert_sound(ours.deps)


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_processes_that_claim_at_once_take_no_more_than_there_is(database: Database) -> None:
    ours = made(database, 24, size=3)
    run_id = ours.start(NAME)
    looks = [message for message, _ in ours.inbox]
    ours.inbox.clear()
    held: list[Claimed] = []
    start = threading.Barrier(8)

    def process(mine: list[Message]) -> None:
        carrier = steps.Carrier(
            deps=ours.deps, send=ours.send, keeper=NoLeases(db=ours.deps.db, seconds=10.0)
        )
        start.wait()
        for look in mine:
            claimed = carrier._claim(look)
            if claimed is not None:
                held.append(claimed)

    threads = [threading.Thread(target=process, args=(looks[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), pool(ours)[0]) == (3, 3)
    for claimed in held:
        end(ours, claimed)
    while "queued" in ours.statuses(run_id).values():
        ours.drain()
        ours.sweep()
    ends(ours, run_id, "success")


def rated(database: Database, width: int, **rate: Any) -> Engine:
    terms = {"key": "mail", "limit": 2, "per": "1m"} | rate
    return publish(database, *(probe(f"n{n}", rate=terms) for n in range(width)))


def test_a_key_lets_so_many_through_in_a_time(database: Database) -> None:
    ours = rated(database, 5)
    run_id = ours.run(NAME)
    assert sorted(ours.statuses(run_id).values()) == ["queued"] * 3 + ["success"] * 2
    assert 0 < ours.releases[0].seconds <= 60
    ours.sweep()
    ours.drain()
    assert list(ours.statuses(run_id).values()).count("success") == 2
    for done in (4, 5):
        later(ours, 61)
        ours.sweep()
        ours.drain()
        assert list(ours.statuses(run_id).values()).count("success") == done
    ends(ours, run_id, "success")


def test_each_key_has_its_own_rate(database: Database) -> None:
    rate = {"key": "{{inputs.to}}", "limit": 1, "per": "1h"}
    ours = publish(database, probe("a", rate=rate))
    ids = [ours.run(NAME, inputs={"to": to}) for to in ("x", "y", "x", {"z": 1})]
    assert [ours.row(run_id).status for run_id in ids] == ["success", "success", "running", "success"]
    assert_sound(ours.deps)


def test_a_rate_whose_key_has_no_value_fails_the_step(database: Database) -> None:
    ours = publish(database, probe("a", rate={"key": "{{inputs.to}}", "limit": 1, "per": 1}))
    run_id = ours.run(NAME)
    ends(ours, run_id, "failed")
    assert ours.row(run_id).error["code"] == "UNRESOLVED_REFERENCE"


def test_a_retry_counts_for_the_rate(database: Database) -> None:
    rate = {"key": "k", "limit": 1, "per": "1h"}
    retry = {"max_attempts": 2, "initial": 0.25, "jitter": 0}
    ours = publish(database, probe("a", [{"fail": "NETWORK"}, {}], rate=rate, retry=retry))
    run_id = ours.run(NAME)
    assert ours.statuses(run_id) == {"a": "retrying"}
    with ours.deps.db.transaction() as session:
        session.execute(text("UPDATE step SET due_at = queued_at"))
    ours.sweep()
    ours.drain()
    assert ours.statuses(run_id) == {"a": "queued"}
    later(ours, 3_601)
    ours.sweep()
    ends(ours, run_id, "success")


def test_a_pool_and_a_rate_together(database: Database) -> None:
    ours = made(database, 5, size=1, rate={"key": "k", "limit": 2, "per": "1m"})
    run_id = ours.start(NAME)
    for _ in range(40):
        ours.drain()
        assert pool(ours)[0] <= 1
        if "queued" not in ours.statuses(run_id).values():
            break
        later(ours, 31)
        ours.sweep()
    ends(ours, run_id, "success")


def test_lanes_of_the_same_name_are_apart(database: Database) -> None:
    ours = made(database, 1)
    with ours.deps.db.read() as session:
        for kind in Kind:
            lane = Lane(workspace_id=ours.actor.workspace_id, kind=kind, name="gpu/x")
            assert lanes.parse(str(lane)) == lane
            assert queries.waiting(session, str(lane)) == 0


@given(st.lists(st.integers(1, 9)), st.integers(0, 40))
def test_what_fits_is_the_longest_beginning(widths: list[int], free: int) -> None:
    count = lanes.fitting(widths, free)
    assert sum(widths[:count]) <= free
    assert count == len(widths) or sum(widths[: count + 1]) > free


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(-9, 0)).map(sorted)), max_size=6))
def test_steps_go_by_rank_then_by_turns(found: list[tuple[int, list[int]]]) -> None:
    named = [
        (Lane(workspace_id=str(who), kind=Kind.QUEUE, name=str(n)), [(rank, (who, rank)) for rank in ranks])
        for n, (who, ranks) in enumerate(found)
    ]
    order = lanes.in_turn(named)
    assert sorted(order) == sorted(step for _, steps_ in named for _, step in steps_)
    assert [rank for _, rank in order] == sorted(rank for _, rank in order)
    for rank in {rank for _, rank in order}:
        who = [who for who, placed in order if placed == rank]
        rounds = [who[:n].count(who[n]) for n in range(len(who))]
        assert rounds == sorted(rounds)
