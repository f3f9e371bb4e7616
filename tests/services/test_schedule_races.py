"""Schedules that are swept, filled and edited at once: a fire time has one run."""

import threading
from datetime import timedelta
from typing import Any

from models.database import Database
from orchestrator.services import schedules, sweeps
from orchestrator.services.idempotency import Once
from tests.support.soundness import assert_sound
from tests.support.timetable import (
    AT_ONCE,
    START,
    edit,
    fill,
    fired,
    make,
    published,
    statuses,
    sweep,
)


def test_sweeps_at_once_fire_each_time_once(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    for name in ("a", "b", "c"):
        make(ours, name, overlap="allow")
    fill(ours, START - timedelta(minutes=20), START, "a", max_parallel=3)
    clock.now += 20 * 60
    failures: list[Exception] = []

    def sweeping() -> None:
        try:
            for _ in range(4):
                sweeps.run(ours.deps, "schedules")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=sweeping) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    sweep(ours)
    planned = [(minute, "started") for minute in range(1, 21)]
    assert fired(ours, "b") == fired(ours, "c") == planned
    assert fired(ours, "a") == [(minute, "started") for minute in range(-20, 21)]
    assert len(statuses(ours)) == 3 * 20 + 21
    assert_sound(ours.deps)


def test_edits_and_sweeps_at_once(database: Database) -> None:
    ours, clock = published(database, AT_ONCE)
    make(ours, overlap="allow")
    clock.now += 20 * 60
    failures: list[Exception] = []

    def working(act: Any) -> None:
        try:
            for number in range(6):
                act(number)
        except Exception as error:
            failures.append(error)

    acts = [
        lambda _: sweeps.run(ours.deps, "schedules"),
        lambda number: edit(ours, cron=["* * * * *", "*/2 * * * *"][number % 2]),
        lambda _: schedules.pause(ours.deps, ours.actor, "s", "", Once()),
        lambda _: schedules.resume(ours.deps, ours.actor, "s", "", Once()),
    ]
    threads = [threading.Thread(target=working, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    found = fired(ours)
    assert len({minute for minute, _ in found}) == len(found) == len(statuses(ours))
    assert_sound(ours.deps)
