"""Runs of a schedule beside its plan: backfills and triggers."""

from datetime import timedelta

import pytest

from models.database import Database
from models.errors import InvalidError
from models.queries import backfills
from orchestrator.services import schedules
from orchestrator.services.idempotency import Once
from tests.support import timetable
from tests.support.soundness import assert_sound
from tests.support.timetable import (
    AT_ONCE,
    START,
    WAITS,
    end,
    fill,
    fired,
    get,
    make,
    moved,
    published,
    sweep,
)


def test_a_backfill_makes_up_what_has_no_run_and_keeps_its_limit(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours)
    moved(ours, clock, minutes=2)
    assert fired(ours) == [(1, "started"), (2, "skipped")]
    made = fill(ours, START - timedelta(minutes=2), START + timedelta(minutes=2), max_parallel=2)
    assert (made["total"], made["queued"]) == (4, 4)
    sweep(ours)
    expected = [(-2, "started"), (-1, "started"), (0, "queued"), (1, "started"), (2, "queued")]
    assert fired(ours) == expected
    sweep(ours)
    assert fired(ours) == expected
    end(ours, timetable.runs(ours)[0])
    sweep(ours)
    assert fired(ours, outcome="queued") == [(2, "queued")]
    for run_id in timetable.runs(ours):
        if ours.row(run_id).finished_at is None:
            end(ours, run_id)
    sweep(ours)
    end(ours, timetable.runs(ours)[-1])
    sweep(ours)
    (filled,) = get(ours)["backfills"]
    assert (filled["started"], filled["queued"]) == (4, 0)
    assert filled["finished_at"] is not None
    assert fill(ours, START - timedelta(minutes=2), START + timedelta(minutes=2))["total"] == 0
    assert_sound(ours.deps)


def test_a_backfill_whose_runs_go_on_is_not_looked_at_again(database: Database) -> None:
    ours, _ = published(database, WAITS)
    make(ours)
    made = fill(ours, START - timedelta(minutes=2), START, max_parallel=2)

    def open_() -> list[str]:
        with ours.deps.db.read() as session:
            return [each.id for each in backfills.open_(session, 500) if each.id == made["id"]]

    assert open_() == [made["id"]]
    sweep(ours)
    assert open_() == []
    for left in ([made["id"]], [], [made["id"]]):  # one waits, one goes on, none is left
        end(ours, next(run_id for run_id in timetable.runs(ours) if ours.row(run_id).finished_at is None))
        assert open_() == left
        sweep(ours)
    assert open_() == []
    assert_sound(ours.deps)


def test_a_backfill_goes_on_while_the_schedule_is_paused_and_holds_up_nothing(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours)
    fill(ours, START - timedelta(minutes=1), START)
    sweep(ours)
    moved(ours, clock, minutes=1)
    assert fired(ours) == [(-1, "started"), (0, "queued"), (1, "started")]
    schedules.pause(ours.deps, ours.actor, "s", "", Once())
    end(ours, timetable.runs(ours)[0])
    sweep(ours)
    assert fired(ours) == [(-1, "started"), (0, "started"), (1, "started")]


@pytest.mark.parametrize(
    ("start", "end_at", "message"),
    [(0, -1, "before from"), (0, 60, "lies ahead"), (-20_000, 0, "more than 10000")],
)
def test_a_range_that_cannot_be_backfilled(database: Database, start: int, end_at: int, message: str) -> None:
    ours, _ = published(database, AT_ONCE)
    make(ours)
    with pytest.raises(InvalidError, match=message) as refused:
        fill(ours, START + timedelta(minutes=start), START + timedelta(minutes=end_at))
    assert [problem.pointer for problem in refused.value.problems] == ["/to"]


def test_a_trigger_starts_a_run_beside_the_plan(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours)
    schedules.pause(ours.deps, ours.actor, "s", "", Once())
    first, second = timetable.trigger(ours), timetable.trigger(ours)
    assert {first["status"], second["status"]} == {"running"}
    assert first["labels"] == {"schedule": "s"}
    assert fired(ours, kind="manual") == [(0, "started"), (0, "started")]
    schedules.resume(ours.deps, ours.actor, "s", "", Once())
    moved(ours, clock, minutes=1)
    assert fired(ours)[-1] == (1, "skipped")
    assert_sound(ours.deps)
