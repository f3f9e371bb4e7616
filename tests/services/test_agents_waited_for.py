"""Steps that wait for an agent: why, in which order they go on, how many at once, and what ends their wait."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import select, update

from models.agent import Agent, SessionAgent
from models.database import Database
from models.gateway import Gateway
from models.queries import unserved as queries
from models.step import Step
from orchestrator.core.effects import Message
from orchestrator.services import run_views, runs, sweeps, unserved, waking
from orchestrator.services.gateways import FAILURES
from tests.support import attempts
from tests.support.desk import answers, office, step
from tests.support.histories import execute
from tests.support.probes import NAME, Clock, ends
from tests.support.soundness import assert_sound
from tests.support.waits import busy, ends_of, goes_on, waits_for


@pytest.mark.parametrize(
    ("status", "gateway", "why"),
    [
        ("failed", "healthy", "ada is failed"),
        ("stopped", "healthy", "ada is stopped"),
        ("offline", "healthy", "ada is offline"),
        ("online", "unhealthy", "ada is behind the gateway desk, which is unhealthy"),
    ],
)
def test_a_step_waits_for_its_agent(database: Database, status: str, gateway: str, why: str) -> None:
    ours = office(database)
    gateway_id = ours.gateway(status=gateway)
    agent_id = ours.agent("ada", gateway_id, status=status)
    if gateway == "unhealthy":
        ours.desk.away.add(gateway_id)
    run_id = ours.engine.run(NAME)
    assert waits_for(ours, run_id) == f"AGENT_UNAVAILABLE: no agent ada is available: {why}"
    ours.sweep()
    assert ours.desk.runs == {}
    ours.desk.away.clear()
    ours.change(Agent, agent_id, status="online")
    ours.change(Gateway, gateway_id, status="healthy")
    ours.engine.send(unserved.release(ours.engine.deps, ours.engine.actor.workspace_id))
    ends(ours.engine, run_id, "success")
    assert [row.number for row in attempts.attempts(ours.engine, run_id, "a")] == [1]


def test_a_step_without_any_gateway_waits_for_one(database: Database) -> None:
    ours = office(database)
    run_id = ours.engine.run(NAME)
    assert "has no gateway" in waits_for(ours, run_id)
    ours.gateway(is_default=True)
    ours.sweep()
    ends(ours.engine, run_id, "success")


def test_a_gateway_that_is_not_reached_is_waited_for(database: Database) -> None:
    ours = office(database)
    gateway_id = ours.gateway()
    ours.agent("ada", gateway_id)
    ours.desk.away.add(gateway_id)
    run_id = ours.engine.run(NAME)
    assert "was not reached: connection refused" in waits_for(ours, run_id)
    row = attempts.attempts(ours.engine, run_id, "a")[0]
    assert (row.assigned, row.agent_id) == (None, None)
    ours.desk.away.clear()
    with database.transaction() as session:
        session.execute(update(Step).values(due_at=datetime(2020, 1, 1, tzinfo=UTC)))
    ours.sweep()
    ends(ours.engine, run_id, "success")


def test_the_end_of_a_step_lets_the_next_one_go_on(database: Database) -> None:
    ours = busy(database)
    first, second = ours.engine.run(NAME), ours.engine.run(NAME)
    assert "works on 1 of 1 steps at once" in waits_for(ours, second)
    ends_of(ours, first)
    assert waits_for(ours, second) == "agent ada at gateway desk"
    ends_of(ours, second)
    for run_id in (first, second):
        ends(ours.engine, run_id, "success")


def test_a_step_that_ends_at_once_lets_the_next_one_go_on(database: Database) -> None:
    ours = busy(database, limit=1)
    first, second = ours.engine.run(NAME), ours.engine.run(NAME)
    ours.desk.does = lambda _: answers("quick")
    third = ours.engine.run(NAME)
    ends_of(ours, first)
    for run_id in (first, second, third):
        ends(ours.engine, run_id, "success")


def test_urgent_steps_go_first_and_then_the_older_ones(database: Database) -> None:
    ours = busy(database)
    first = ours.engine.run(NAME)
    waiting = {name: ours.engine.run(NAME, priority=priority) for name, priority in _ORDER}
    went = []
    ends_of(ours, first)
    for _ in waiting:
        (name,) = [
            name
            for name, run_id in waiting.items()
            if attempts.step(ours.engine, run_id, "a").waiting_for == "agent ada at gateway desk"
        ]
        went.append(name)
        ends_of(ours, waiting[name])
    assert went == ["urgent", "old", "new"]
    assert_sound(ours.engine.deps)


_ORDER = (("old", 0), ("new", 0), ("urgent", 5))


def test_no_more_go_on_than_find_a_place(database: Database) -> None:
    ours = busy(database, limit=3)
    running = [ours.engine.run(NAME) for _ in range(3)]
    for _ in range(9):
        ours.engine.run(NAME)
    released = unserved.release(ours.engine.deps, ours.engine.actor.workspace_id)
    assert released == ()
    no = attempts.step(ours.engine, running[0], "a").no
    sent = waking.settle(ours.engine.deps, running[0], no, 1, answers("x"))
    again = unserved.release(ours.engine.deps, ours.engine.actor.workspace_id)
    resumed = [effect for effect in (*sent, *again) if type(effect).__name__ == "Resume"]
    assert len(resumed) == 1, "the place that is kept for it counts"


def test_a_resume_that_is_lost_is_made_good(database: Database) -> None:
    clock = Clock()
    ours = busy(database, clock=clock)
    first, second = ours.engine.run(NAME), ours.engine.run(NAME)
    waking.settle(ours.engine.deps, first, 0, 1, answers("x"))  # what it says is lost
    assert attempts.step(ours.engine, second, "a").lane is None
    ours.sweep()
    assert waits_for(ours, second).startswith("AGENT_UNAVAILABLE")
    clock.now += unserved.DUE_SECONDS
    ours.sweep()
    assert waits_for(ours, second) == "agent ada at gateway desk"
    ends_of(ours, second)
    assert_sound(ours.engine.deps)


def test_the_rate_of_an_agent_is_kept(database: Database) -> None:
    ours = office(database)
    ours.agent("ada", ours.gateway(), rate_limit=2)
    ids = [ours.engine.run(NAME) for _ in range(3)]
    assert "has begun 2 of 2 steps in the last minute" in waits_for(ours, ids[2])
    ours.sweep()
    assert ours.engine.statuses(ids[2])["a"] == "waiting"
    execute(ours.engine, "UPDATE attempt SET begun_at = :at", at=attempts.long_ago(ours.engine))
    ours.sweep()
    for run_id in ids:
        ends(ours.engine, run_id, "success")


def test_a_step_goes_to_the_least_loaded_of_a_role(database: Database) -> None:
    ours = office(database, step(role="judge"), does=goes_on)
    gateway_id = ours.gateway()
    ours.agent("ann", gateway_id, role="judge", queued_task_count=2)
    ours.agent("ben", gateway_id, role="judge")
    ours.agent("cid", gateway_id, role="clerk")
    ids = [ours.engine.run(NAME) for _ in range(4)]
    agents = [attempts.attempts(ours.engine, run_id, "a")[0].agent for run_id in ids]
    assert agents == ["ben", "ben", "ann", "ben"]


def test_an_agent_has_all_the_capabilities(database: Database) -> None:
    ours = office(database, step(capabilities=["law", "french"]))
    gateway_id = ours.gateway()
    ours.agent("ann", gateway_id, capabilities=["law"])
    run_id = ours.engine.run(NAME)
    assert "with the capabilities french, law is registered" in waits_for(ours, run_id)
    ours.agent("ben", gateway_id, capabilities=["law", "french", "tax"])
    ours.sweep()
    ends(ours.engine, run_id, "success")
    assert attempts.attempts(ours.engine, run_id, "a")[0].agent == "ben"


def test_a_session_stays_with_its_agent(database: Database) -> None:
    nodes = [step(name, role="judge", session="review") for name in ("a", "b")]
    ours = office(database, *nodes, edges=["a >> b"])
    gateway_id = ours.gateway()
    ann = ours.agent("ann", gateway_id, role="judge")
    ours.agent("ben", gateway_id, role="judge")
    ours.desk.does = lambda request: goes_on(request) if request.path == "b" else answers("x")
    run_id = ours.engine.run(NAME)
    assert attempts.attempts(ours.engine, run_id, "b")[0].agent == "ann"
    with ours.engine.deps.db.read() as session:
        assert session.get_one(SessionAgent, (run_id, "review")).agent_id == ann
    assert {work.request.sent.session_key for work in ours.desk.runs.values()} == {
        f"agent:ann:wf-{run_id}-session-review"
    }
    ends_of(ours, run_id, "b")
    ends(ours.engine, run_id, "success")


def test_a_session_is_not_kept_by_an_agent_that_was_sent_nothing(database: Database) -> None:
    ours = office(database, step(role="judge", session="run"))
    dead = ours.gateway("dead")
    ours.agent("ann", dead, role="judge")
    ours.agent("ben", ours.gateway(), role="judge")
    ours.desk.away.add(dead)
    run_id = ours.engine.run(NAME)
    for _ in range(FAILURES):
        with database.transaction() as session:
            session.execute(update(Step).values(due_at=datetime(2020, 1, 1, tzinfo=UTC)))
        ours.sweep()
    ends(ours.engine, run_id, "success")
    assert attempts.attempts(ours.engine, run_id, "a")[0].agent == "ben"


@pytest.mark.parametrize("gone", ["failed", "stopped", "removed"])
def test_a_session_goes_on_with_another_agent_when_its_own_is_gone(database: Database, gone: str) -> None:
    nodes = [step(name, role="judge", session="run") for name in ("a", "b")]
    ours = busy(database, *nodes, edges=["a >> b"])
    run_id = ours.engine.run(NAME)
    ada = attempts.attempts(ours.engine, run_id, "a")[0].agent_id
    assert ada is not None
    ours.change(Agent, ada, max_concurrent=0)
    ends_of(ours, run_id)
    assert "works on 0 of 0 steps" in waits_for(ours, run_id, "b")
    if gone == "removed":
        with ours.engine.deps.db.transaction() as session:
            session.delete(session.get_one(Agent, ada))
    else:
        ours.change(Agent, ada, status=gone)
    for _ in range(3):
        ours.sweep()
    assert attempts.told(ours.engine, run_id).count("step.resumed") == 1, "it went and saw once"
    ours.agent("bob", ours.gateway("other"), role="judge")
    ours.sweep()
    assert waits_for(ours, run_id, "b") == "agent bob at gateway other"
    ends_of(ours, run_id, "b")
    ends(ours.engine, run_id, "success")


def test_the_wait_ends_with_the_attempts_time(database: Database) -> None:
    ours = office(database, step(timeout="5m"))
    run_id = ours.engine.run(NAME)
    attempts.outrun(ours.engine, run_id, "a")
    ends(ours.engine, run_id, "failed")
    error = ours.engine.row(run_id).error
    assert error["code"] == "AGENT_UNAVAILABLE"
    assert "has no gateway that could know it; the attempt's time was over after 0." in error["message"]


def test_a_retried_step_waits_in_no_lane(database: Database) -> None:
    clock = Clock()
    retry = {"max_attempts": 2, "initial": 1, "jitter": 0, "policy": "on_transient_error"}
    ours = office(database, step(timeout="5m", retry=retry), clock=clock)
    run_id = ours.engine.run(NAME)
    attempts.outrun(ours.engine, run_id, "a")
    row = attempts.step(ours.engine, run_id, "a")
    assert (row.status, row.lane) == ("retrying", None)
    ours.gateway(is_default=True)
    clock.now += 1
    ours.sweep()
    ends(ours.engine, run_id, "success")


def test_a_paused_run_is_passed_over(database: Database) -> None:
    ours = office(database)
    run_id = ours.engine.run(NAME)
    runs.pause(ours.engine.deps, ours.engine.actor, run_id, "lunch")
    ours.gateway(is_default=True)
    ours.sweep()
    assert ours.engine.statuses(run_id) == {"a": "waiting"}
    ours.engine.send(runs.resume(ours.engine.deps, ours.engine.actor, run_id))
    ours.sweep()
    ends(ours.engine, run_id, "success")


def test_a_run_that_is_paused_gives_its_place_back(database: Database) -> None:
    clock = Clock()
    ours = busy(database, clock=clock)
    first, second, third = (ours.engine.run(NAME) for _ in range(3))
    ours.engine.send(waking.settle(ours.engine.deps, first, 0, 1, answers("done")))
    runs.pause(ours.engine.deps, ours.engine.actor, second, "lunch")
    ours.engine.drain()
    ours.sweep()
    assert waits_for(ours, third) == "agent ada at gateway desk"
    ours.engine.send(runs.resume(ours.engine.deps, ours.engine.actor, second))
    clock.now += unserved.DUE_SECONDS
    ours.sweep()
    assert waits_for(ours, second).startswith("AGENT_UNAVAILABLE")
    ends_of(ours, third)
    ends_of(ours, second)
    for run_id in (first, second, third):
        ends(ours.engine, run_id, "success")


def test_the_view_of_a_step_says_why(database: Database) -> None:
    ours = office(database)
    run_id = ours.engine.run(NAME)
    shown = run_views.step(ours.engine.deps, ours.engine.actor, run_id, "a")
    assert shown["waiting_for"].startswith("AGENT_UNAVAILABLE: agent ada is not registered")


def test_a_crowd_that_waits_for_one_agent_is_not_looked_at_step_by_step(database: Database) -> None:
    ours = busy(database, step("a"), limit=1)
    first = ours.engine.run(NAME)
    crowd = ours.engine.run(NAME)
    copies = 3_000
    execute(
        ours.engine,
        "INSERT INTO step (run_id, no, path, status, attempt, undecided, live, tries, losses, queue, in_chord,"
        " sends, lane, rank, queued_at) SELECT run_id, n.n, 'x' || n.n, status, attempt, undecided, live, tries,"
        " losses, queue, in_chord, sends, lane, rank, queued_at FROM step, "
        f"(WITH RECURSIVE n(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM n WHERE n < {copies}) SELECT n FROM n) n"
        " WHERE run_id = :run",
        run=crowd,
    )
    ours.agent("bob", ours.gateway("other"), role="clerk")
    with ours.engine.deps.db.read() as session:
        lane = attempts.step(ours.engine, crowd, "a").lane
        assert lane is not None
        assert len(queries.lanes(session, 10)) == 1
    before = len(ours.engine.resumes)
    for _ in range(3):
        ours.engine.send(sweeps.run(ours.engine.deps, "unserved").effects)
    assert len(ours.engine.resumes) == before
    effects = waking.settle(ours.engine.deps, first, 0, 1, answers("x"))
    resumed = [e.message for e in effects if hasattr(e, "message")]
    assert resumed == [Message(run_id=crowd, no=0, path="a", attempt=1)]
    with ours.engine.deps.db.transaction() as session:
        for row in session.scalars(select(Step).where(Step.run_id == crowd, Step.no >= 10)):
            session.delete(row)


@pytest.mark.parametrize("absent", [3, 4, 5, 9])
def test_no_lane_is_too_far_behind_to_be_served(
    database: Database, monkeypatch: pytest.MonkeyPatch, absent: int
) -> None:
    monkeypatch.setattr(unserved, "LANES", 4)
    ours = office(database, step(agent="{{inputs.agent}}"), does=goes_on)
    gateway_id = ours.gateway()
    for number in range(absent):
        ours.engine.run(NAME, inputs={"agent": f"absent{number}"})
    zoe = ours.agent("zoe", gateway_id, status="stopped")
    last = ours.engine.run(NAME, inputs={"agent": "zoe"})
    assert waits_for(ours, last).startswith("AGENT_UNAVAILABLE")
    ours.change(Agent, zoe, status="online")
    ours.sweep()
    assert attempts.step(ours.engine, last, "a").agent_id == zoe
    ends_of(ours, last)
    ends(ours.engine, last, "success")


def test_every_workspace_where_steps_wait_is_found_whatever_its_lanes(database: Database) -> None:
    ours = busy(database, step("a"), step("b"), step("c"))
    run_id = ours.engine.run(NAME)
    ids = sorted(
        str(UUID(int=number << 64)) for number in (1, 0x9FFFFFFFFFFF, 0xA00000000000, 0xFFFFFFFFFFFF)
    )
    with ours.engine.deps.db.transaction() as session:
        for number in range(60):
            row = {
                "path": f"x{number}",
                "status": "waiting",
                "attempt": 1,
                "undecided": 0,
                "live": 0,
                "tries": 0,
            }
            lane = f"{ids[number % 4]}/agent/{'~zZ/09-aé'[number % 9]}{number}"
            more = {"losses": 0, "queue": "steps", "in_chord": False, "sends": 0, "rank": 0, "lane": lane}
            session.add(Step(run_id=run_id, no=100 + number, **row, **more))
        session.flush()
        own = ours.engine.actor.workspace_id
        assert sorted(queries.workspaces(session)) == sorted([*ids, own])
        for workspace_id in ids:
            assert len(queries.lanes(session, 100, f"{workspace_id}/agent/")) == 15
        session.rollback()
