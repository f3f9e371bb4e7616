"""Steps that foreign tasks do: sent once an attempt, woken or found, timed out, revoked, retried."""

from dataclasses import replace
from typing import Any

import pytest

from models.database import Database
from models.errors import InvalidError
from orchestrator.core.effects import Timer
from orchestrator.ports import ForeignError, ForeignValue
from orchestrator.services import looking, runs, stops, sweeps
from orchestrator.settings import Settings
from tests.support import attempts, engine
from tests.support.elsewhere import Elsewhere
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.probes import NAME, Clock, ends, probe
from tests.support.soundness import assert_run_sound

BROKE = ForeignError(name="LookupError", module="builtins", message="no such account")
RETRY = {"max_attempts": 3, "initial": 1, "jitter": 0}


class World:
    """An engine whose foreign tasks are in memory, and a run of one `celery` step `a`."""

    def __init__(self, database: Database, *after: dict[str, Any], edges: Any = (), **fields: Any) -> None:
        self.clock, self.elsewhere = Clock(), Elsewhere()
        made = engine.make(database, clock=self.clock, settings=Settings())
        self.engine = Engine(deps=replace(made.deps, foreign=self.elsewhere), actor=made.actor)
        node = {"id": "a", "type": "celery", "task": "reports.build", **fields}
        self.engine.publish({"name": NAME, "nodes": [node, *after], "edges": list(edges)})
        self.run_id = self.engine.run(NAME)

    @property
    def status(self) -> str:
        return self.engine.statuses(self.run_id)["a"]

    def task_id(self, attempt: int = 1) -> str:
        return f"{self.run_id}:a:{attempt}"

    def woken(self, attempt: int = 1) -> None:
        self.engine.send(looking.woken(self.engine.deps, self.run_id, 0, attempt))

    def next_attempt(self) -> None:
        """A retry's wait is over."""
        self.clock.now += 10
        self.engine.sweep()
        self.engine.drain()

    def ends(self, status: str) -> None:
        ends(self.engine, self.run_id, status)

    def attempts(self) -> list[Any]:
        return attempts.attempts(self.engine, self.run_id, "a")

    def outrun(self) -> None:
        at = attempts.long_ago(self.engine)
        execute(self.engine, "UPDATE step SET timeout_at = :at WHERE status = 'waiting'", at=at)
        self.engine.send(sweeps.run(self.engine.deps, "timeouts").effects)

    def carry_out_stops(self) -> None:
        while self.engine.stops:
            assert stops.carry_out(self.engine.deps, self.engine.stops.pop().outbox_id)


def test_the_task_is_sent_and_the_step_parks(database: Database) -> None:
    world = World(database, args=["{{run.id}}"], kwargs={"n": 1}, queue="reports")
    assert world.status == "waiting"
    (call,) = world.elsewhere.sent
    assert (call.task_id, call.name, call.queue) == (world.task_id(), "reports.build", "reports")
    assert (call.args, call.kwargs) == ([world.run_id], {"n": 1})
    assert call.headers == {"idempotency_key": f"{world.run_id}:a", "run_id": world.run_id, "step": "a"}
    assert call.wakes == (world.run_id, 0, 1)
    assert call.expires is not None
    assert 590 < call.expires <= 600
    assert [message.queue for wave in world.engine.waves for message in wave.messages] == ["steps"]
    assert attempts.step(world.engine, world.run_id, "a").timeout_at is not None
    assert_run_sound(world.engine.deps, world.run_id)


def test_its_return_value_is_the_output(database: Database) -> None:
    world = World(database, probe("b", output="{{a.rows}}"), edges=["a >> b"])
    world.elsewhere.results[world.task_id()] = ForeignValue(value={"rows": 3})
    world.woken()
    world.ends("success")
    assert attempts.attempts(world.engine, world.run_id, "b")[0].output == 3


def test_its_exception_is_the_error(database: Database) -> None:
    takes = probe("b", output="{{a.error.details}}")
    world = World(database, takes, edges=[{"from": "a", "to": "b", "handle": "error"}])
    world.elsewhere.results[world.task_id()] = BROKE
    world.woken()
    world.ends("success")
    assert world.attempts()[0].error == {
        "code": "TOOL_FAILED",
        "message": "LookupError: no such account",
        "transient": True,
        "details": {
            "class": "LookupError",
            "module": "builtins",
            "message": "no such account",
            "task_id": world.task_id(),
        },
    }


def test_a_wake_that_their_worker_could_not_send_is_no_failure_of_their_task(database: Database) -> None:
    """The broker was away as the task ended; Celery keeps that error, whatever the task gave."""
    untold = ForeignError(name="OperationalError", module="kombu.exceptions", message="Error 111")
    world = World(database, retry={**RETRY, "not_on": ["TOOL_FAILED"]})
    world.elsewhere.results[world.task_id()] = untold
    world.woken()
    assert (world.status, world.attempts()[0].error["code"]) == ("retrying", "NETWORK")


def test_each_attempt_is_a_task_of_its_own_under_one_key(database: Database) -> None:
    world = World(database, retry=RETRY)
    world.elsewhere.results[world.task_id()] = BROKE
    world.woken()
    assert world.status == "retrying"
    world.next_attempt()
    world.woken(attempt=1)
    assert world.status == "waiting"
    world.elsewhere.results[world.task_id(2)] = ForeignValue(value=1)
    world.woken(attempt=2)
    world.ends("success")
    assert [call.task_id for call in world.elsewhere.sent] == [world.task_id(1), world.task_id(2)]
    assert len({call.headers["idempotency_key"] for call in world.elsewhere.sent}) == 1


def test_a_wake_that_was_lost_is_made_good_by_the_sweep(database: Database) -> None:
    world = World(database)
    world.elsewhere.results[world.task_id()] = ForeignValue(value=1)
    world.clock.now += 1
    world.engine.sweep()
    world.ends("success")


def test_a_task_that_takes_its_time_is_looked_for_at_growing_intervals(database: Database) -> None:
    world = World(database)
    began = "UPDATE attempt SET claimed_at = :at"
    world.clock.now += 1
    world.engine.sweep()
    assert len(world.elsewhere.looked) == 1
    world.engine.sweep()
    assert len(world.elsewhere.looked) == 1
    execute(world.engine, began, at=attempts.long_ago(world.engine))
    world.clock.now += 1
    world.engine.sweep()
    assert len(world.elsewhere.looked) == 2
    world.clock.now += looking.LATEST - 1
    world.engine.sweep()
    assert len(world.elsewhere.looked) == 2
    world.clock.now += 1
    world.engine.sweep()
    assert len(world.elsewhere.looked) == 3


def test_timers_of_the_process_look_sooner_than_the_sweep(database: Database) -> None:
    world = World(database)
    waited: list[float] = []
    while world.engine.timers:
        timer = world.engine.timers.pop()
        waited.append(round(timer.seconds, 3))
        world.engine.send(sweeps.wake(world.engine.deps, timer))
    assert waited == [0.1, 0.2, 0.4, 0.8, 1.6]
    world.woken()
    assert world.engine.timers == [Timer(run_id=world.run_id, no=0, attempt=1, seconds=0.1)]
    world.elsewhere.results[world.task_id()] = ForeignValue(value=1)
    world.engine.send(sweeps.wake(world.engine.deps, world.engine.timers.pop()))
    world.ends("success")


def test_without_an_answer_the_timeout_ends_the_attempt_and_the_task_is_revoked(database: Database) -> None:
    world = World(database, retry=RETRY, timeout="5s")
    world.outrun()
    assert (world.status, world.attempts()[0].error["code"]) == ("retrying", "TIMEOUT")
    world.carry_out_stops()
    assert world.elsewhere.revoked == [world.task_id()]
    world.next_attempt()
    world.elsewhere.results[world.task_id(1)] = ForeignValue(value="late")
    world.woken(attempt=1)
    assert world.status == "waiting"
    world.elsewhere.results[world.task_id(2)] = ForeignValue(value="in time")
    world.woken(attempt=2)
    world.ends("success")
    assert world.attempts()[1].output == "in time"


def test_an_abort_revokes_the_task(database: Database) -> None:
    world = World(database)
    world.engine.send(runs.abort(world.engine.deps, world.engine.actor, world.run_id, "enough"))
    world.carry_out_stops()
    assert world.elsewhere.revoked == [world.task_id()]
    world.elsewhere.results[world.task_id()] = ForeignValue(value=1)
    world.woken()
    world.ends("aborted")


def test_an_external_commitment_is_let_end(database: Database) -> None:
    own = {"side_effects": "external", "idempotency_key": "{{run.id}}-a"}
    world = World(database, compensate={"type": "none", "reason": "a test"}, **own)
    workspace = world.engine.actor.workspace_id
    world.engine.send(runs.abort(world.engine.deps, world.engine.actor, world.run_id, "enough"))
    assert (world.status, world.engine.stops) == ("waiting", [])
    world.elsewhere.results[f"{workspace}:{world.run_id}-a:1"] = ForeignValue(value=1)
    world.woken()
    world.ends("aborted")
    assert world.status == "success"


def test_a_stopped_run_waits_for_a_commitment_no_longer_than_its_timeout(database: Database) -> None:
    own = {"side_effects": "external", "idempotency_key": "{{run.id}}-a"}
    world = World(database, compensate={"type": "none", "reason": "a test"}, retry=RETRY, **own)
    runs.pause(world.engine.deps, world.engine.actor, world.run_id, "lunch")
    world.engine.send(runs.abort(world.engine.deps, world.engine.actor, world.run_id, "enough"))
    world.outrun()
    world.ends("aborted")
    assert world.status == "failed"


def test_a_worker_that_lacks_the_type_completes_no_step_of_it(database: Database) -> None:
    world = World(database)
    handlers = dict(world.engine.deps.handlers)
    del handlers["celery"]
    world.engine.deps.__dict__["handlers"] = handlers
    world.clock.now += 1
    world.engine.sweep()
    assert world.status == "waiting"


def test_while_the_backend_is_away_the_answer_is_put_off(database: Database) -> None:
    world = World(database)
    world.elsewhere.results[world.task_id()] = ForeignValue(value=1)
    world.elsewhere.away = True
    world.clock.now += 1
    world.engine.sweep()
    world.woken()
    assert world.status == "waiting"
    world.elsewhere.away = False
    world.clock.now += looking.LATEST
    world.engine.sweep()
    world.ends("success")


def test_what_cannot_be_sent_is_a_failure_of_the_network(database: Database) -> None:
    world = World(database, retry=RETRY)
    world.elsewhere.away = True
    ours, run_id = world.engine, world.engine.run(NAME)
    assert ours.statuses(run_id)["a"] == "retrying"
    assert attempts.attempts(ours, run_id, "a")[0].error["code"] == "NETWORK"
    assert_run_sound(ours.deps, run_id)


def lost(world: World) -> str:
    """A second run, whose worker was lost between sending the task and parking; its id."""
    ours = world.engine
    run_id = ours.start(NAME)
    attempts.lose(ours, attempts.take(ours, "a"))
    assert ours.statuses(run_id)["a"] == "queued"
    return run_id


def test_what_the_task_of_a_lost_attempt_left_is_taken(database: Database) -> None:
    world = World(database)
    run_id = lost(world)
    world.elsewhere.results[f"{run_id}:a:1"] = ForeignValue(value="of the lost one")
    ends(world.engine, run_id, "success")
    assert attempts.attempts(world.engine, run_id, "a")[1].output == "of the lost one"
    assert [call.task_id for call in world.elsewhere.sent] == [world.task_id()]


def test_the_task_of_a_lost_attempt_that_left_nothing_is_revoked(database: Database) -> None:
    world = World(database)
    run_id = lost(world)
    world.engine.drain()
    assert world.elsewhere.revoked == [f"{run_id}:a:1"]
    assert [call.task_id for call in world.elsewhere.sent] == [world.task_id(), f"{run_id}:a:2"]


def test_a_success_under_the_same_key_is_taken_and_a_failure_is_not(database: Database) -> None:
    world = World(database, idempotency_key="invoice-7")
    ours, task_id = world.engine, f"{world.engine.actor.workspace_id}:invoice-7:1"
    assert [call.task_id for call in world.elsewhere.sent] == [task_id]
    world.elsewhere.results[task_id] = BROKE
    again = ours.run(NAME)
    assert (ours.statuses(again)["a"], len(world.elsewhere.sent)) == ("waiting", 2)
    world.elsewhere.results[task_id] = ForeignValue(value="sent")
    ends(ours, ours.run(NAME), "success")
    assert len(world.elsewhere.sent) == 2


def test_ids_beyond_what_results_are_kept_under_are_digests(database: Database) -> None:
    world = World(database, idempotency_key="x" * 400)
    (call,) = world.elsewhere.sent
    assert len(call.task_id) <= 155
    world.elsewhere.results[call.task_id] = ForeignValue(value=1)
    world.woken()
    world.ends("success")


def test_an_answer_goes_by_the_rules_of_any_output(database: Database) -> None:
    world = World(database, max_output_bytes=100)
    world.elsewhere.results[world.task_id()] = ForeignValue(value="x" * 200)
    world.woken()
    world.ends("failed")
    assert world.attempts()[0].error["code"] == "OUTPUT_TOO_LARGE"


def test_without_a_backend_in_common_nothing_is_sent(database: Database) -> None:
    made = engine.make(database, settings=Settings(broker_url="amqp://nowhere"))
    ours = Engine(deps=replace(made.deps, foreign=Elsewhere()), actor=made.actor)
    ours.publish({"name": NAME, "nodes": [{"id": "a", "type": "celery", "task": "reports.build"}]})
    run_id = ours.run(NAME)
    ends(ours, run_id, "failed")
    assert "ORCHESTRATOR_RESULT_BACKEND" in ours.row(run_id).error["message"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"task": "orchestrator.step"}, "/nodes/0/task"),
        ({"task": "{{inputs.task}}"}, "/nodes/0/task"),
        ({"queue": "steps"}, "/nodes/0/queue"),
        ({"queue": "{{inputs.queue}}"}, "/nodes/0/queue"),
        ({"args": "text"}, "/nodes/0/args"),
        ({"kwargs": []}, "/nodes/0/kwargs"),
        ({"nope": 1}, "/nodes/0/nope"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_a_definition_may_not_say(database: Database, fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidError) as refused:
        World(database, **fields)
    assert [problem.pointer for problem in refused.value.problems] == [pointer]
