"""Attempts of agent steps: sent once, followed to their ends, looked up after losses, stopped where they were sent."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from models.agent import Agent
from models.database import Database
from models.errors import ErrorCode
from models.gateway import Gateway
from models.step import Attempt
from orchestrator.bridge import Dispatch
from orchestrator.core.outcome import Failed, StepError, Succeeded
from orchestrator.services import performing, runs, stops, sweeps, waking
from tests.support import attempts
from tests.support.desk import Office, answers, office, step
from tests.support.polling import poll
from tests.support.probes import NAME, Clock, ends, probe

BROKE = Failed(error=StepError.of(ErrorCode.LLM_DOWN, "no model"))


def goes_on(request: Dispatch) -> None:
    """The agent takes its time."""
    return


def attempt(ours: Office, run_id: str, number: int = 1) -> Attempt:
    return attempts.attempts(ours.engine, run_id, "a")[number - 1]


def hired(database: Database, *nodes: Any, does: Any = None, **fields: Any) -> Office:
    """An office with agent `ada` at one gateway."""
    ours = office(database, *nodes, does=does, **fields)
    ours.agent("ada", ours.gateway())
    return ours


def parked(database: Database, **fields: Any) -> tuple[Office, str]:
    """A run whose step the gateway has taken and works on."""
    ours = hired(database, step(**fields), probe("b"), edges=["a >> b"], does=goes_on)
    run_id = ours.engine.run(NAME)
    assert ours.engine.statuses(run_id)["a"] == "waiting"
    return ours, run_id


def test_the_answer_is_the_output(database: Database) -> None:
    ours = hired(database, does=lambda _: answers('{"score": 3}'))
    run_id = ours.engine.run(NAME)
    ends(ours.engine, run_id, "success")
    row = attempt(ours, run_id)
    assert row.output["output"] == {"score": 3}
    assert (row.agent, row.model) == ("ada", "m")


def test_where_it_was_sent_is_written_before_it_is_sent(database: Database) -> None:
    seen: list[Any] = []

    def looks(_: Dispatch) -> Succeeded:
        seen.append(attempt(ours, run_id).assigned)
        return answers("done")

    ours = office(database, does=looks)
    gateway_id = ours.gateway()
    agent_id = ours.agent("ada", gateway_id, session_key="agent:Ada-Main:main")
    run_id = ours.engine.start(NAME)
    ours.engine.drain()
    key = {"key": f"{run_id}:a:1", "session_key": f"agent:ada-main:wf-{run_id}-a-a1"}
    assert seen == [{"gateway_id": gateway_id, "agent": "ada-main", **key}]
    assert attempt(ours, run_id).agent_id == agent_id
    ends(ours.engine, run_id, "success")


def test_an_agent_that_is_not_registered_is_at_the_default_gateway(database: Database) -> None:
    ours = office(database)
    ours.gateway("other")
    gateway_id = ours.gateway("standard", is_default=True)
    run_id = ours.engine.run(NAME)
    ends(ours.engine, run_id, "success")
    assert attempt(ours, run_id).assigned["gateway_id"] == gateway_id
    assert attempt(ours, run_id).agent_id is None


def test_a_gateway_without_a_driver_fails_the_step(database: Database) -> None:
    ours = office(database)
    ours.agent("ada", ours.gateway(kind="pigeon"))
    run_id = ours.engine.run(NAME)
    ends(ours.engine, run_id, "failed")
    assert "this worker has desk" in ours.engine.row(run_id).error["message"]
    assert attempt(ours, run_id).assigned is None


def test_work_that_takes_long_parks_and_is_looked_up(database: Database) -> None:
    clock = Clock()
    ours = hired(database, does=goes_on, clock=clock)
    run_id = ours.engine.run(NAME)
    row = attempts.step(ours.engine, run_id, "a")
    assert row.waiting_for == "agent ada at gateway desk"
    ours.desk.ends(f"{run_id}:a:1", answers("done"), tells=False)
    ours.sweep()
    assert ours.desk.asked == []
    clock.now += 10
    ours.sweep()
    ends(ours.engine, run_id, "success")
    assert ours.desk.asked == [f"{run_id}:a:1"]
    assert len(ours.engine.looks) == 1


def test_the_sweep_does_not_ask_itself(database: Database) -> None:
    clock = Clock()
    ours = hired(database, does=goes_on, clock=clock)
    ours.engine.run(NAME)
    clock.now += 10
    sweeps.run(ours.engine.deps, "due")
    assert ours.desk.asked == []


def test_an_end_that_this_process_sees_is_settled(database: Database) -> None:
    ours, run_id = parked(database)
    ours.engine.deps.agents.listen(ours.engine.send, partial(waking.hear, ours.engine.deps, ours.engine.send))
    ours.desk.ends(f"{run_id}:a:1", answers("done"))
    poll(lambda: ours.engine.inbox, what="the message of the next step")
    ends(ours.engine, run_id, "success")


def test_an_end_before_the_step_is_parked_is_not_lost(database: Database) -> None:
    ours = hired(database, does=goes_on)
    ours.engine.deps.agents.listen(ours.engine.send, partial(waking.hear, ours.engine.deps, ours.engine.send))
    run_id = ours.engine.start(NAME)
    claimed = attempts.take(ours.engine, "a")
    done = performing.perform(ours.engine.deps, claimed)
    ours.desk.ends(f"{run_id}:a:1", answers("done"))
    poll(lambda: ours.engine.deps.agents._ends._pool is not None)
    attempts.store(ours.engine, claimed, done)
    poll(lambda: ours.engine.statuses(run_id)["a"] == "success")
    ends(ours.engine, run_id, "success")


def test_work_that_never_arrived_is_sent_under_its_key(database: Database) -> None:
    clock = Clock()
    ours = hired(database, does=goes_on, clock=clock)
    run_id = ours.engine.run(NAME)
    del ours.desk.runs[f"{run_id}:a:1"]
    ours.desk.does = lambda _: answers("at last")
    clock.now += 10
    ours.sweep()
    ends(ours.engine, run_id, "success")
    assert list(ours.desk.runs) == [f"{run_id}:a:1"]
    assert [row.number for row in attempts.attempts(ours.engine, run_id, "a")] == [1]
    assert "step.resumed" in attempts.told(ours.engine, run_id)


def test_a_lost_attempt_is_taken_over_at_its_gateway(database: Database) -> None:
    ours = hired(database, does=goes_on)
    run_id = ours.engine.start(NAME)
    claimed = attempts.take(ours.engine, "a")
    performing.perform(ours.engine.deps, claimed)
    attempts.lose(ours.engine, claimed)
    ours.engine.drain()
    assert list(ours.desk.runs) == [f"{run_id}:a:1"]
    assert attempt(ours, run_id, 2).assigned["key"] == f"{run_id}:a:1"
    ours.desk.ends(f"{run_id}:a:1", answers("done"), tells=False)
    ours.engine.send(waking.settle(ours.engine.deps, run_id, 0, 2, answers("done")))
    ends(ours.engine, run_id, "success")


@pytest.mark.parametrize("over", [True, False])
def test_a_lost_attempt_at_another_gateway_is_looked_up_first(database: Database, over: bool) -> None:
    ours = hired(database, does=goes_on)
    run_id = ours.engine.start(NAME)
    claimed = attempts.take(ours.engine, "a")
    performing.perform(ours.engine.deps, claimed)
    if over:
        ours.desk.runs[f"{run_id}:a:1"].outcome = answers("found")
    attempts.lose(ours.engine, claimed)
    with ours.engine.deps.db.read() as session:
        (agent_id,) = session.scalars(select(Agent.id)).all()
    ours.change(Agent, agent_id, gateway_id=ours.gateway("new"))
    ours.engine.drain()
    assert list(ours.desk.runs) == [f"{run_id}:a:1"]
    if not over:
        assert attempt(ours, run_id, 2).assigned == attempt(ours, run_id, 1).assigned
        ours.engine.send(waking.settle(ours.engine.deps, run_id, 0, 2, answers("found")))
    ends(ours.engine, run_id, "success")


def test_nothing_is_sent_while_a_lost_attempts_gateway_does_not_say(database: Database) -> None:
    clock = Clock()
    ours = office(database, does=goes_on, clock=clock)
    old = ours.gateway("old")
    agent_id = ours.agent("ada", old)
    run_id = ours.engine.start(NAME)
    claimed = attempts.take(ours.engine, "a")
    performing.perform(ours.engine.deps, claimed)
    attempts.lose(ours.engine, claimed)
    ours.change(Agent, agent_id, gateway_id=ours.gateway("new"))
    ours.desk.away.add(old)
    ours.engine.drain()
    assert "does not say" in str(attempts.step(ours.engine, run_id, "a").waiting_for)
    ours.desk.away.clear()
    ours.desk.runs[f"{run_id}:a:1"].outcome = answers("found")
    clock.now += 10
    ours.sweep()
    ends(ours.engine, run_id, "success")
    assert list(ours.desk.runs) == [f"{run_id}:a:1"]


def test_a_failure_is_retried_under_a_new_key(database: Database) -> None:
    said = iter([BROKE, answers("better")])
    clock = Clock()
    retry = {"max_attempts": 2, "initial": 1, "jitter": 0, "policy": "on_transient_error"}
    ours = hired(database, step(retry=retry), does=lambda _: next(said), clock=clock)
    run_id = ours.engine.run(NAME)
    clock.now += 1
    ours.sweep()
    ends(ours.engine, run_id, "success")
    assert list(ours.desk.runs) == [f"{run_id}:a:1", f"{run_id}:a:2"]


def test_what_may_have_been_done_is_looked_up_before_it_is_retried(database: Database) -> None:
    clock = Clock()
    retry = {"max_attempts": 2, "initial": 1, "jitter": 0, "policy": "on_transient_error"}
    error = StepError.of(ErrorCode.NETWORK, "lost after sending", details={"fate": "unknown"})
    ours = hired(database, step(retry=retry), does=lambda _: Failed(error=error), clock=clock)
    run_id = ours.engine.run(NAME)
    ours.desk.runs[f"{run_id}:a:1"].outcome = answers("done there")
    clock.now += 1
    ours.sweep()
    ends(ours.engine, run_id, "success")
    assert list(ours.desk.runs) == [f"{run_id}:a:1"]


def test_an_aborted_run_ends_its_parked_work(database: Database) -> None:
    ours, run_id = parked(database)
    ours.engine.send(runs.abort(ours.engine.deps, ours.engine.actor, run_id, "enough"))
    for effect in ours.engine.stops:
        assert stops.carry_out(ours.engine.deps, effect.outbox_id)
    assert ours.desk.stopped == [f"{run_id}:a:1"]
    ends(ours.engine, run_id, "aborted")


def test_an_abort_ends_work_that_is_on_its_way(database: Database) -> None:
    ours = hired(database)

    def aborted_meanwhile(request: Dispatch) -> None:
        ours.engine.send(runs.abort(ours.engine.deps, ours.engine.actor, request.run_id, "enough"))
        for effect in ours.engine.stops:
            assert stops.carry_out(ours.engine.deps, effect.outbox_id)
        ours.engine.stops.clear()
        ours.desk.stopped.clear()  # the gateway did not have the work yet

    ours.desk.does = aborted_meanwhile
    run_id = ours.engine.run(NAME)
    (effect,) = ours.engine.stops
    assert stops.carry_out(ours.engine.deps, effect.outbox_id)
    assert ours.desk.stopped == [f"{run_id}:a:1"]
    ends(ours.engine, run_id, "aborted")


def test_a_lost_attempt_that_goes_on_is_left_to_the_next(database: Database) -> None:
    ours = hired(database, does=goes_on)
    run_id = ours.engine.start(NAME)
    claimed = attempts.take(ours.engine, "a")
    done = performing.perform(ours.engine.deps, claimed)
    attempts.lose(ours.engine, claimed)
    attempts.store(ours.engine, claimed, done)
    ours.engine.drain()
    assert ours.engine.stops == []
    assert attempt(ours, run_id, 2).assigned["key"] == f"{run_id}:a:1"
    ours.engine.send(waking.settle(ours.engine.deps, run_id, 0, 2, answers("done")))
    ends(ours.engine, run_id, "success")


def test_a_timeout_ends_the_parked_work(database: Database) -> None:
    ours, run_id = parked(database, timeout="1h")
    attempts.outrun(ours.engine, run_id, "a")
    for effect in ours.engine.stops:
        stops.carry_out(ours.engine.deps, effect.outbox_id)
    assert ours.desk.stopped == [f"{run_id}:a:1"]
    ends(ours.engine, run_id, "failed")
    assert ours.engine.row(run_id).error["code"] == "TIMEOUT"


def test_a_removed_gateway_fails_what_was_sent_there(database: Database) -> None:
    clock = Clock()
    ours = office(database, does=goes_on, clock=clock)
    gateway_id = ours.gateway(is_default=True)
    run_id = ours.engine.run(NAME)
    with ours.engine.deps.db.transaction() as session:
        session.delete(session.get_one(Gateway, gateway_id))
    clock.now += 10
    ours.sweep()
    ends(ours.engine, run_id, "failed")
    assert ours.engine.row(run_id).error["code"] == "AGENT_UNAVAILABLE"


def test_a_token_that_does_not_open_is_waited_for(database: Database) -> None:
    clock = Clock()
    ours = office(database, clock=clock)
    gateway_id = ours.gateway(is_default=True, token="sealed under another key")
    run_id = ours.engine.run(NAME)
    waits = attempts.step(ours.engine, run_id, "a").waiting_for
    assert waits is not None
    assert waits.startswith("AGENT_UNAVAILABLE: a stored secret does not open")
    ours.change(Gateway, gateway_id, token=None)
    clock.now += 10
    ours.sweep()
    ends(ours.engine, run_id, "success")


def test_only_so_many_threads_wait(database: Database) -> None:
    ours = hired(database, does=lambda _: answers("x"))
    ours.engine.deps.agents.serve(2)
    assert ours.engine.deps.agents._places.take()
    first = ours.engine.run(NAME)
    ours.engine.deps.agents._places.leave()
    second = ours.engine.run(NAME)
    assert ours.desk.patience == [0.0, ours.engine.deps.settings.gateway_sync_seconds]
    for run_id in (first, second):
        ends(ours.engine, run_id, "success")


def test_a_name_that_no_gateway_takes_is_refused(database: Database) -> None:
    ours = hired(database, step(agent="{{inputs.who}}"))
    run_id = ours.engine.run(NAME, inputs={"who": "a:b"})
    ends(ours.engine, run_id, "failed")
    assert ours.engine.row(run_id).error["code"] == "VALIDATION"
    assert ours.desk.runs == {}
