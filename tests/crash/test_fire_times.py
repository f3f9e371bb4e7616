"""Schedules while beats and workers die: each fire time has one run."""

import random
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import pytest
from sqlalchemy import func, select

from models.run import Run
from models.schedule import Schedule, ScheduleFire
from orchestrator.core import timing
from orchestrator.services.fire_times import timing_of
from tests.crash.conftest import Deploy
from tests.support.deployment import Deployment
from tests.support.polling import poll

pytestmark = [pytest.mark.crash, pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(240)]
SPEED = 150.0  # 10 minutes pass in 4 s
ZONE = "Europe/Berlin"
SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)


def scheduled(deployment: Deployment, work: dict[str, Any], **timings: dict[str, Any]) -> dict[str, datetime]:
    """Schedules of one short workflow; when each fires first."""
    deployment.define({"name": "tick", "nodes": [work["nodes"][-1]], "edges": []})
    first = {}
    for name, fields in timings.items():
        body = {"name": name, "workflow": "tick", "timezone": ZONE, "overlap": "allow", **fields}
        made = deployment.post("/api/schedules", body, f"make {name}")
        first[name] = datetime.fromisoformat(made["next_fire_at"])
    return first


def fired(deployment: Deployment) -> dict[str, list[datetime]]:
    """The fire times of each schedule; every one has started a run of its own."""
    found: dict[str, list[datetime]] = {}
    with deployment.database.read() as session:
        rows = session.execute(
            select(Schedule.name, ScheduleFire)
            .join(ScheduleFire, ScheduleFire.schedule_id == Schedule.id)
            .order_by(ScheduleFire.fire_at)
        ).all()
    for name, fire in rows:
        assert (fire.outcome, fire.run_id is None) == ("started", False)
        found.setdefault(name, []).append(fire.fire_at)
    assert len({fire.run_id for _, fire in rows}) == len(rows)
    return found


def expected(deployment: Deployment, first: dict[str, datetime]) -> dict[str, list[datetime]]:
    """What each schedule had to fire from its first fire time to its last one."""
    with deployment.database.read() as session:
        rows = session.scalars(select(Schedule)).all()
    return {
        row.name: list(
            takewhile(
                lambda at, row=row: row.last_fire_at is not None and at <= row.last_fire_at,
                timing.upcoming(timing_of(row), first[row.name] - timedelta(seconds=1)),
            )
        )
        for row in rows
    }


def ended(deployment: Deployment, first: dict[str, datetime]) -> dict[str, list[datetime]]:
    """Let nothing fire any more; what has fired is what had to, and every run has ended well."""
    for name in first:
        deployment.post(f"/api/schedules/{name}/pause", {}, f"pause {name}")
    found = fired(deployment)
    assert found == expected(deployment, first)
    with deployment.database.read() as session:
        count = session.execute(select(func.count()).select_from(Run)).scalar_one()
    assert count == sum(map(len, found.values()))
    deployment.all_ended(count, 120)
    return found


@pytest.mark.parametrize("change", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_two_beats_and_one_killed_over_a_change_of_the_clocks(
    change: datetime, deploy: Deploy, work: dict[str, Any]
) -> None:
    once = change if change == SPRING else change - timedelta(minutes=30)  # 02:30, skipped or doubled
    start = (once - timedelta(minutes=90)).timestamp()
    deployment = deploy(clock_speed=SPEED, clock_start=start)
    beats = ("beat-one", "beat-two")
    for beat in beats:
        deployment.beat(beat)
    deployment.worker("one")
    deployment.worker("two")
    deployment.api()
    for name in ("one", "two", "api"):
        deployment.ready(name)
    first = scheduled(
        deployment,
        work,
        minutely={"cron": "* * * * *"},
        wall={"cron": "30 2 * * *"},
        often={"interval": "150s", "jitter": "90s"},
        rule={"rrule": "FREQ=MINUTELY;INTERVAL=5"},
    )

    def passed(at: datetime) -> bool:
        return bool(deployment.deps.clock.now() >= at.timestamp())

    victim = random.choice(beats)
    dies = change + timedelta(minutes=random.uniform(-10, 10))
    poll(lambda: passed(dies), 60, "the moment of the kill")
    deployment.program(victim).kill()
    deployment.end(victim)
    poll(lambda: passed(dies + timedelta(minutes=10)), 60, "10 virtual minutes")
    deployment.beat(victim)
    over = change + timedelta(minutes=35)
    poll(lambda: fired(deployment)["minutely"][-1] > over, 90, "half an hour after the change")
    assert ended(deployment, first)["wall"] == [once]


def test_sweeps_that_die_before_they_commit(deploy: Deploy, work: dict[str, Any]) -> None:
    deployment = deploy(clock_speed=60.0, sweep_seconds=0.25)
    deployment.api()
    deployment.ready("api")
    first = scheduled(deployment, work, minutely={"cron": "* * * * *"})
    deployment.beat()
    for _ in range(2):
        deployment.worker("mortal", ORCHESTRATOR_CRASH_AT="before_fire_commit")
        poll(lambda: deployment.program("mortal").ended() == -9, 40, "the death before the commit")
        deployment.end("mortal")
        assert fired(deployment) == {}
    deployment.worker("immortal")
    poll(lambda: len(fired(deployment).get("minutely", ())) >= 10, 60, "ten fire times")
    ended(deployment, first)
