"""Schedules: fired, caught up with, overlapping, paused, edited, refused."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from models.audit import Audit
from models.database import Database
from models.errors import ConflictError, InvalidError, NotFoundError
from models.event import OperationalEvent
from orchestrator.services import runs as run_service
from orchestrator.services import schedules
from orchestrator.services.idempotency import Once
from tests.support import timetable
from tests.support.probes import probe
from tests.support.soundness import assert_sound
from tests.support.timetable import (
    AT_ONCE,
    START,
    WAITS,
    edit,
    end,
    fill,
    fired,
    get,
    make,
    moved,
    published,
    statuses,
    sweep,
)


def test_each_fire_time_has_one_run(database: Database) -> None:
    ours, clock = published(database)
    made = make(ours, labels={"team": "sales"}, variables={"region": "eu"}, inputs={"n": 1}, priority=3)
    assert made["next_fire_at"] == "2026-03-02T12:01:00.000000Z"
    sweep(ours)
    assert fired(ours) == []
    for _ in range(3):
        moved(ours, clock, minutes=1)
        sweep(ours)
    assert fired(ours) == [(1, "started"), (2, "started"), (3, "started")]
    run_id = timetable.runs(ours)[0]
    data = ours.data(run_id)
    assert data.labels == {"team": "sales", "schedule": "s"}
    assert (data.inputs, data.created_by, ours.row(run_id).priority) == ({"n": 1}, "schedule:s", 3)
    told = {"id": made["id"], "name": "s", "fire_at": "2026-03-02T12:01:00.000000Z", "kind": "planned"}
    assert data.variables == {"region": "eu", "schedule": told}
    shown = get(ours)
    assert shown["counts"] == {"started": 3, "skipped": 0, "refused": 0, "missed": 0}
    assert shown["last_fire_at"] == "2026-03-02T12:03:00.000000Z"
    assert [timetable.minutes(at) for at in shown["next_fire_times"]] == [4, 5, 6, 7, 8]
    assert [fire["run_status"] for fire in shown["recent_fires"]] == ["success"] * 3
    assert statuses(ours) == ["success"] * 3
    assert_sound(ours.deps)


def test_what_was_missed_within_the_window_is_made_up_and_the_rest_is_counted(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours, catch_up="5m")
    moved(ours, clock, minutes=30, seconds=30)
    assert fired(ours) == [(minute, "started") for minute in range(26, 31)]
    assert get(ours)["counts"] == {"started": 5, "skipped": 0, "refused": 0, "missed": 25}
    assert get(ours)["next_fire_at"] == "2026-03-02T12:31:00.000000Z"
    assert_sound(ours.deps)


def test_without_a_window_what_is_due_now_fires_all_the_same(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours, catch_up=0)
    moved(ours, clock, minutes=10, seconds=5)
    assert fired(ours) == [(10, "started")]
    assert get(ours)["counts"]["missed"] == 9


def test_a_year_away_is_counted_in_bounded_steps(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours, interval="1h", catch_up="2h")
    moved(ours, clock, days=365, seconds=10)
    assert get(ours)["counts"] == {"started": 2, "skipped": 0, "refused": 0, "missed": 365 * 24 - 2}


def test_skip_leaves_out_what_would_overlap(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours)
    moved(ours, clock, minutes=1)
    moved(ours, clock, minutes=1)
    assert fired(ours) == [(1, "started"), (2, "skipped")]
    assert get(ours)["recent_fires"][0]["error"]["code"] == "OVERLAP"
    end(ours, timetable.runs(ours)[0])
    moved(ours, clock, minutes=1)
    assert fired(ours) == [(1, "started"), (2, "skipped"), (3, "started")]
    assert_sound(ours.deps)


def test_a_paused_run_goes_on(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours)
    moved(ours, clock, minutes=1)
    ours.send(run_service.pause(ours.deps, ours.actor, timetable.runs(ours)[0], ""))
    moved(ours, clock, minutes=1)
    assert fired(ours) == [(1, "started"), (2, "skipped")]


def test_allow_lets_them_overlap(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours, overlap="allow")
    moved(ours, clock, minutes=3)
    assert fired(ours) == [(1, "started"), (2, "started"), (3, "started")]
    assert statuses(ours) == ["running"] * 3
    assert_sound(ours.deps)


def test_queue_starts_one_after_the_other_in_order(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours, overlap="queue")
    moved(ours, clock, minutes=3)
    assert fired(ours) == [(1, "started"), (2, "queued"), (3, "queued")]
    end(ours, timetable.runs(ours)[0])
    sweep(ours)
    assert fired(ours) == [(1, "started"), (2, "started"), (3, "queued")]
    end(ours, timetable.runs(ours)[1])
    schedules.pause(ours.deps, ours.actor, "s", "", Once())
    sweep(ours)
    assert fired(ours)[-1] == (3, "queued")
    schedules.resume(ours.deps, ours.actor, "s", "", Once())
    sweep(ours)
    assert fired(ours) == [(1, "started"), (2, "started"), (3, "started")]
    assert get(ours)["counts"]["started"] == 3
    assert_sound(ours.deps)


def test_a_queue_has_an_end(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours, overlap="queue")
    for _ in range(2):
        moved(ours, clock, minutes=52)
    found = fired(ours)
    assert [outcome for _, outcome in found] == ["started"] + ["queued"] * 100 + ["skipped"] * 3
    assert get(ours)["recent_fires"][0]["error"]["code"] == "QUEUE_FULL"


def test_cancel_previous_aborts_and_starts(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours, overlap="cancel_previous")
    moved(ours, clock, minutes=1)
    moved(ours, clock, minutes=1)
    assert fired(ours) == [(1, "started"), (2, "started")]
    assert statuses(ours) == ["aborted", "running"]
    error = ours.row(timetable.runs(ours)[0]).error
    assert (error["code"], error["details"]) == ("CANCELLED", {"by": "schedule:s"})
    assert_sound(ours.deps)


def test_what_starts_no_run_cancels_none(database: Database) -> None:
    ours, clock = published(database, WAITS, inputs={"type": "object", "required": ["n"]})
    make(ours, overlap="cancel_previous", cron="0 * * * *", catch_up="1m", inputs={"n": 1})
    moved(ours, clock, hours=1)
    moved(ours, clock, hours=1, minutes=30)  # the fire time of 120 was missed
    assert (fired(ours), statuses(ours)) == ([(60, "started")], ["running"])
    with ours.deps.db.transaction() as session:
        schedules.queries.change(session, get(ours)["id"], {"inputs": {}})  # as after a new version
    moved(ours, clock, minutes=30)
    assert (fired(ours), statuses(ours)) == ([(60, "started"), (180, "refused")], ["running"])
    edit(ours, inputs={"n": 2})
    moved(ours, clock, hours=1)
    assert statuses(ours) == ["aborted", "running"]
    assert_sound(ours.deps)


def test_jitter_is_the_same_for_everybody_and_keeps_the_fire_time(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours, cron="0 * * * *", jitter="30m")
    with ours.deps.db.read() as session:
        row = schedules.queries.find(session, ours.actor.workspace_id, "s")
    assert row is not None
    late = row[0].due_at - row[0].next_fire_at
    assert timedelta() < late < timedelta(minutes=30)
    clock.now = row[0].due_at.timestamp() - 1
    sweep(ours)
    assert fired(ours) == []
    moved(ours, clock, seconds=1)
    assert fired(ours) == [(60, "started")]


def test_a_refused_fire_says_why_and_the_schedule_goes_on(database: Database) -> None:
    schema = {"type": "object", "required": ["n"]}
    ours, clock = published(database, AT_ONCE, inputs=schema)
    with pytest.raises(InvalidError) as refused:
        make(ours)
    assert [problem.pointer for problem in refused.value.problems] == ["/inputs/n"]
    make(ours, inputs={"n": 1})
    with ours.deps.db.transaction() as session:
        found = schedules.queries.find(session, ours.actor.workspace_id, "s")
        assert found is not None
        schedules.queries.change(session, found[0].id, {"inputs": {}})  # as after a new version
    moved(ours, clock, minutes=1)
    edit(ours, inputs={"n": 2})
    moved(ours, clock, minutes=1)
    assert fired(ours) == [(1, "refused"), (2, "started")]
    error = get(ours)["recent_fires"][1]["error"]
    assert error["code"] == "INVALID"
    assert "/inputs/n" in error["message"]
    assert get(ours)["counts"]["refused"] == 1
    with ours.deps.db.read() as session:
        (event,) = session.scalars(select(OperationalEvent).where(OperationalEvent.type == "schedule.refused"))
    assert event.data["name"] == "s"
    assert_sound(ours.deps)


def test_what_came_while_it_was_paused_is_left_out(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours)
    moved(ours, clock, minutes=1)
    paused = schedules.pause(ours.deps, ours.actor, "s", "holidays", Once())
    assert (paused["paused"], paused["next_fire_at"], paused["next_fire_times"]) == (True, None, [])
    assert schedules.pause(ours.deps, ours.actor, "s", "", Once())["paused_at"] == paused["paused_at"]
    moved(ours, clock, minutes=10)
    resumed = schedules.resume(ours.deps, ours.actor, "s", "", Once())
    assert (resumed["paused"], timetable.minutes(resumed["next_fire_at"])) == (False, 12)
    moved(ours, clock, minutes=1)
    assert fired(ours) == [(1, "started"), (12, "started")]


def test_an_edit_counts_from_now_and_fires_nothing_twice(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours)
    moved(ours, clock, minutes=2)
    clock.now += 90
    changed = edit(ours, cron="*/5 * * * *")
    assert timetable.minutes(changed["next_fire_at"]) == 5
    changed = edit(ours, interval="90s")
    assert (changed["cron"], changed["interval"]) == (None, "90s")
    moved(ours, clock, minutes=1)
    assert fired(ours) == [(1, "started"), (2, "started"), (4, "started")]
    assert_sound(ours.deps)


def test_an_edit_of_something_else_loses_nothing_that_is_due(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours)
    clock.now += 61
    edit(ours, name="other", overlap="allow")
    sweep(ours)
    assert fired(ours, "other") == [(1, "started")]


def test_a_rule_comes_to_its_end(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours, rrule="FREQ=MINUTELY;COUNT=3")
    make(ours, "bounded", interval="1m", ends_at=(START + timedelta(minutes=1)).isoformat())
    moved(ours, clock, minutes=10)
    assert fired(ours) == [(1, "started"), (2, "started"), (3, "started")]
    assert fired(ours, "bounded") == [(1, "started")]
    assert (get(ours)["next_fire_at"], get(ours)["next_fire_times"]) == (None, [])


def test_a_removed_schedule_leaves_its_runs(database: Database) -> None:
    ours, clock = published(database, WAITS)
    make(ours, overlap="queue")
    moved(ours, clock, minutes=2)
    schedules.remove(ours.deps, ours.actor, "s", Once())
    with pytest.raises(NotFoundError):
        get(ours)
    moved(ours, clock, minutes=2)
    assert statuses(ours) == ["running"]
    assert_sound(ours.deps)


def test_names_are_taken_once(database: Database) -> None:
    ours, _ = published(database)
    make(ours)
    make(ours, "other")
    with pytest.raises(ConflictError, match="There is a schedule 's' already"):
        make(ours)
    with pytest.raises(ConflictError, match="There is a schedule 's' already"):
        edit(ours, "other", name="s")


def test_the_workflow_is_looked_up_when_it_is_written(database: Database) -> None:
    ours, _ = published(database, probe("work"))
    with pytest.raises(InvalidError) as refused:
        make(ours, workflow="none")
    assert [problem.pointer for problem in refused.value.problems] == ["/workflow"]
    with pytest.raises(InvalidError) as refused:
        make(ours, version=7)
    assert [problem.pointer for problem in refused.value.problems] == ["/version"]


def test_every_act_is_audited_once(database: Database) -> None:
    ours, _ = published(database, AT_ONCE)
    made = make(ours)
    edit(ours, overlap="allow")
    schedules.pause(ours.deps, ours.actor, "s", "month's end", Once())
    schedules.resume(ours.deps, ours.actor, "s", "", Once())
    timetable.trigger(ours)
    fill(ours, START - timedelta(minutes=2), START)
    schedules.remove(ours.deps, ours.actor, "s", Once())
    with database.read() as session:
        acts = session.scalars(select(Audit).order_by(Audit.id)).all()
    assert [act.action.removeprefix("schedule.") for act in acts] == [
        *("create", "update", "pause", "resume", "trigger", "backfill", "delete")
    ]
    assert {act.target for act in acts} == {f"schedule:{made['id']}"}
    assert {"field": "overlap", "from": "skip", "to": "allow"} in acts[1].changes
    assert acts[2].reason == "month's end"
