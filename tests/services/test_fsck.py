"""Sound runs pass the check; each invariant, broken on purpose in the database, is the one that is named."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.database import Database
from models.errors import NotFoundError
from orchestrator.services import fsck
from orchestrator.services.fsck_record import INVARIANTS
from tests.support import engine as engines
from tests.support.engine import Engine
from tests.support.histories import LONG_AGO, PAIR, PARKED, append, execute, finished, moment
from tests.support.soundness import assert_sound


@pytest.fixture
def engine(database: Database) -> Engine:
    return engines.make(database)


def broken(engine: Engine, run_id: str) -> set[tuple[int, str | None]]:
    return {(violation.invariant, violation.step) for violation in fsck.check(engine.deps, run_id)}


def test_a_run_that_ended_is_sound(engine: Engine) -> None:
    run_id = finished(engine)
    assert engine.row(run_id).status == "success"
    assert engine.statuses(run_id)["mend"] == "success"
    assert broken(engine, run_id) == set()


def test_a_run_that_waits_is_sound(engine: Engine) -> None:
    run_id = finished(engine, PARKED)
    assert engine.row(run_id).status == "running"
    assert broken(engine, run_id) == set()


def test_runs_that_failed_are_sound(engine: Engine) -> None:
    for policy in ("fail_fast", "continue"):
        nodes = [{"id": "x", "type": "probe", "does": {"fail": "VALIDATION"}}, *PARKED["nodes"][2:]]
        nodes += [{"id": "beside", "type": "probe"}]
        name = policy.replace("_", "-")
        finished(engine, {"name": name, "on_failure": policy, "nodes": nodes, "edges": ["x >> after"]})
    assert_sound(engine.deps)


@pytest.mark.parametrize(
    ("statement", "invariant", "step"),
    [
        ("UPDATE run SET open_steps = open_steps + 1 WHERE id = :run", 1, None),
        ("UPDATE run SET seq = seq + 1 WHERE id = :run", 2, None),
        ("UPDATE attempt SET status = 'failed' WHERE run_id = :run AND no = 1", 4, "enrich"),
        ("UPDATE attempt SET status = 'success' WHERE run_id = :run AND no = 2 AND number = 1", 4, "score"),
        ("UPDATE run SET cost_microcents = cost_microcents + 1 WHERE id = :run", 5, None),
        ("UPDATE budget SET reserved_microcents = 1 WHERE run_id = :run", 5, None),
        ("UPDATE budget SET spent_microcents = spent_microcents + 1 WHERE run_id = :run", 5, None),
        ("UPDATE step SET tries = 9 WHERE run_id = :run AND path = 'mark'", 8, "mark"),
        ("UPDATE step SET route = 'no' WHERE run_id = :run AND path = 'hot'", 8, "hot"),
        ("UPDATE run_data SET variables = '{\"seen\": 81}' WHERE run_id = :run", 8, None),
        ("UPDATE attempt SET resolved = '{\"n\": 81}' WHERE run_id = :run AND no = 5", 10, "call"),
        ("UPDATE attempt SET passed = '1' WHERE run_id = :run AND no = 8", 10, "last"),
        ("UPDATE step SET idempotency_key = 'one' WHERE run_id = :run AND path LIKE 'm%'", 13, "mail"),
        ("UPDATE workflow_version SET digest = 'other'", 14, None),
        ("UPDATE run_label SET workspace_id = run_id WHERE run_id = :run", 16, None),
    ],
)  # fmt: skip
def test_rows_that_were_changed(engine: Engine, statement: str, invariant: int, step: str | None) -> None:
    run_id = finished(engine)
    values = {"run": run_id} if ":run" in statement else {}
    execute(engine, statement, **values)
    found = broken(engine, run_id)
    assert (invariant, step) in found
    assert {number for number, _ in found} == {invariant}


def test_an_end_without_its_run(engine: Engine) -> None:
    run_id = finished(engine)
    execute(engine, "UPDATE run SET status = 'running' WHERE id = :run", run=run_id)
    assert broken(engine, run_id) == {(1, None), (8, None)}


def test_an_open_step_in_a_run_that_ended(engine: Engine) -> None:
    run_id = finished(engine, PARKED)
    execute(engine, "UPDATE run SET status = 'failed' WHERE id = :run", run=run_id)
    append(engine, run_id, "run.failed")
    assert broken(engine, run_id) == {(1, "a"), (1, "b"), (1, "after")}


def test_a_transition_told_twice(engine: Engine) -> None:
    run_id = finished(engine, PARKED)
    append(engine, run_id, "step.waiting", "a", tries=0)
    assert broken(engine, run_id) == {(2, None)}


def test_an_event_that_is_beyond_the_run(engine: Engine) -> None:
    run_id = finished(engine, PARKED)
    append(engine, run_id, "checkpoint.created")
    execute(engine, "UPDATE run SET seq = seq - 1 WHERE id = :run", run=run_id)
    assert broken(engine, run_id) == {(2, None)}


def test_a_start_before_its_join(engine: Engine) -> None:
    run_id = finished(engine, PARKED)
    append(engine, run_id, "step.queued", "after", attempt=0, tries=0)
    execute(
        engine,
        "UPDATE step SET status = 'queued', sent_at = :at WHERE run_id = :run AND path = 'after'",
        run=run_id,
        at=moment(engine, datetime.now(UTC)),
    )
    assert broken(engine, run_id) == {(3, "after")}


def test_counters_that_drifted(engine: Engine) -> None:
    run_id = finished(engine, PARKED)
    execute(
        engine, "UPDATE step SET undecided = 1, live = 1 WHERE run_id = :run AND path = 'after'", run=run_id
    )
    assert broken(engine, run_id) == {(3, "after")}


def test_a_second_success(engine: Engine) -> None:
    run_id = finished(engine, PARKED)
    for _ in range(2):
        append(engine, run_id, "step.completed", "a", edges="1")
    found = broken(engine, run_id)
    assert (4, "a") in found
    assert (2, None) in found


def test_a_reservation_above_the_limit(engine: Engine) -> None:
    run_id = finished(engine)
    execute(engine, "UPDATE budget SET limit_microcents = 9999999 WHERE run_id = :run", run=run_id)
    found = fsck.check(engine.deps, run_id)
    assert {violation.invariant for violation in found} == {5}
    assert "of 9999999 micro-cents" in found[0].message


def undoing(engine: Engine, first: str, second: str, *, ends: bool = True) -> str:
    """A run that undoes `second` after `first`, or while it does `first`."""
    nodes = [{"id": node, "type": "noop", "compensate": {"type": "noop"}} for node in ("a", "b")]
    run_id = finished(engine, {"name": "undone", "nodes": nodes, "edges": ["a >> b"]})
    append(engine, run_id, "run.compensating")
    append(engine, run_id, "step.compensating", first)
    if ends:
        append(engine, run_id, "step.compensated", first)
    append(engine, run_id, "step.compensating", second)
    execute(
        engine,
        "UPDATE run SET status = 'compensating', open_steps = :open WHERE id = :run",
        open=1 if ends else 2,
        run=run_id,
    )
    for path, status in ((first, "compensated" if ends else "compensating"), (second, "compensating")):
        changed = "UPDATE step SET status = :status WHERE run_id = :run AND path = :path"
        execute(engine, changed, status=status, run=run_id, path=path)
    return run_id


def test_compensations_in_the_order_of_completion(engine: Engine) -> None:
    assert broken(engine, undoing(engine, "a", "b")) == {(6, "a")}


def test_two_compensations_at_once(engine: Engine) -> None:
    assert broken(engine, undoing(engine, "b", "a", ends=False)) == {(6, "a")}


def test_compensations_in_reverse_order_are_sound(engine: Engine) -> None:
    assert broken(engine, undoing(engine, "b", "a")) == set()


def test_undoing_what_was_not_done(engine: Engine) -> None:
    assert (6, "b") in broken(engine, undoing(engine, "b", "b"))


def test_a_guard_that_is_gone(database_kind: str, new_database: Callable[..., str]) -> None:
    engine = engines.make(Database(new_database(database_kind)))
    run_id = finished(engine, PAIR)
    execute(
        engine,
        "DROP TRIGGER event_refuse_update"
        if engine.deps.db.is_sqlite
        else "ALTER TABLE event ENABLE REPLICA TRIGGER event_refuse_row",
    )
    found = fsck.check(engine.deps, run_id)
    assert [violation.invariant for violation in found] == [7]
    assert list(fsck.check_all(engine.deps)) == found
    engine.deps.db.close()


@pytest.mark.parametrize("column", ["lease_until", "timeout_at", "due_at"])
def test_a_timer_that_outlives_its_step(engine: Engine, column: str) -> None:
    run_id = finished(engine)
    statement = f"UPDATE step SET {column} = :at WHERE run_id = :run AND path = 'mark'"
    execute(engine, statement, run=run_id, at=moment(engine, datetime.now(UTC) + timedelta(hours=1)))
    assert broken(engine, run_id) == {(9, "mark")}


@pytest.mark.parametrize(("definition", "invariant"), [(PAIR, 9), (PARKED, 15)])
def test_an_effect_that_nobody_carries_out(
    engine: Engine, definition: dict[str, Any], invariant: int
) -> None:
    run_id = finished(engine, definition)
    execute(
        engine,
        "INSERT INTO outbox (kind, run_id, no, attempt, data, tries, created_at, due_at)"
        " VALUES ('stop', :run, 0, 1, '{}', 0, :at, :at)",
        run=run_id,
        at=moment(engine, LONG_AGO),
    )
    assert broken(engine, run_id) == {(invariant, None)}


def test_an_output_that_was_changed(engine: Engine) -> None:
    run_id = finished(engine)
    execute(
        engine,
        "UPDATE attempt SET output = '{\"score\": 81}' WHERE run_id = :run AND no = 2 AND number = 2",
        run=run_id,
    )
    assert {number for number, _ in broken(engine, run_id)} == {10}


def test_a_success_of_an_attempt_that_never_started(engine: Engine) -> None:
    run_id = finished(engine, PARKED)
    append(engine, run_id, "step.completed", "a", attempt=2, edges="1")
    execute(
        engine,
        "UPDATE step SET status = 'success', attempt = 2, tries = 1, out_edges = '1'"
        " WHERE run_id = :run AND path = 'a'",
        run=run_id,
    )
    execute(
        engine, "UPDATE step SET undecided = 1, live = 1 WHERE run_id = :run AND path = 'after'", run=run_id
    )
    execute(
        engine, "UPDATE attempt SET status = 'success', number = 2 WHERE run_id = :run AND no = 0", run=run_id
    )
    execute(engine, "UPDATE run SET open_steps = 2 WHERE id = :run", run=run_id)
    assert broken(engine, run_id) == {(11, "a")}


def test_events_after_the_end(engine: Engine) -> None:
    run_id = finished(engine, PAIR)
    append(engine, run_id, "step.reset", "b")
    append(engine, run_id, "step.completed", "b", edges="")
    assert broken(engine, run_id) == {(4, "b"), (12, "b")}  # and no attempt since the reset has won


def test_audit_after_the_end_is_sound(engine: Engine) -> None:
    run_id = finished(engine, PAIR)
    append(engine, run_id, "checkpoint.created")
    assert broken(engine, run_id) == set()


@pytest.mark.parametrize(
    "change",
    ["due_at = :at", "timeout_at = :at"],
)
def test_a_step_that_is_overdue(engine: Engine, change: str) -> None:
    run_id = finished(engine, PARKED)
    statement = f"UPDATE step SET {change} WHERE run_id = :run AND path = 'a'"
    execute(engine, statement, run=run_id, at=moment(engine, datetime.now(UTC) - timedelta(seconds=20)))
    assert broken(engine, run_id) == set()
    execute(engine, statement, run=run_id, at=moment(engine, datetime.now(UTC) - timedelta(seconds=40)))
    assert broken(engine, run_id) == {(15, "a")}


def test_a_lease_that_nobody_sweeps(engine: Engine) -> None:
    engine.publish(PAIR)
    run_id = engine.start("pair")
    message, _ = engine.inbox.pop()
    assert engine.carrier._claim(message) is not None
    assert broken(engine, run_id) == set()
    execute(engine, "UPDATE step SET lease_until = :at WHERE no = 0", at=moment(engine, LONG_AGO))
    assert broken(engine, run_id) == {(15, "a")}


def test_a_queued_step_that_nobody_sends(engine: Engine) -> None:
    engine.publish(PAIR)
    run_id = engine.start("pair")
    execute(
        engine, "UPDATE step SET queued_at = :at, sent_at = NULL WHERE no = 0", at=moment(engine, LONG_AGO)
    )
    assert broken(engine, run_id) == {(15, "a")}
    execute(engine, "UPDATE run SET timeout_at = :at", at=moment(engine, LONG_AGO))
    assert broken(engine, run_id) == {(15, "a"), (15, None)}


def test_a_step_that_is_gone(engine: Engine) -> None:
    run_id = finished(engine, PAIR)
    execute(engine, "DELETE FROM step WHERE run_id = :run AND no = 1", run=run_id)
    assert broken(engine, run_id) == {(8, "b")}


def test_a_run_that_is_not_there(engine: Engine) -> None:
    for run_id in ("nonsense", "01890000-0000-7000-8000-000000000000"):
        with pytest.raises(NotFoundError, match="there is no run"):
            fsck.check(engine.deps, run_id)


def test_the_whole_database_since_a_moment(engine: Engine) -> None:
    old, new = finished(engine, PAIR), engine.run("pair")
    execute(engine, "UPDATE step SET tries = 9")
    execute(engine, "UPDATE run SET created_at = :at WHERE id = :run", at=moment(engine, LONG_AGO), run=old)
    assert {violation.run_id for violation in fsck.check_all(engine.deps)} == {old, new}
    since = datetime.now(UTC) - timedelta(hours=1)
    assert {violation.run_id for violation in fsck.check_all(engine.deps, since)} == {new}


def test_a_run_is_checked_while_it_goes_on(engine: Engine) -> None:
    ids = [f"n{place}" for place in range(40)]
    engine.publish(
        {
            "name": "chain",
            "nodes": [{"id": id_, "type": "probe", "does": {"succeed": {"of": id_}}} for id_ in ids],
            "edges": [" >> ".join(ids)],
        }
    )
    run_id = engine.start("chain")
    carrying = threading.Thread(target=engine.drain)
    carrying.start()
    seen: set[str] = set()
    while carrying.is_alive():
        assert broken(engine, run_id) == set()
        seen.add(engine.row(run_id).status)
    carrying.join()
    assert broken(engine, run_id) == set()
    assert "running" in seen
    assert engine.row(run_id).status == "success"


def test_every_invariant_has_its_sentence() -> None:
    assert sorted(INVARIANTS) == list(range(1, 19))
