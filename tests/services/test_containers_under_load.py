"""Loops and parallels amid what happens to runs: races, timeouts, budgets, stops, secrets, many branches."""

import threading
from typing import Any

import pytest
from sqlalchemy import inspect, text

from models.database import Database
from orchestrator.core.effects import Message, Timer
from orchestrator.services import run_views, runs, sweeps
from orchestrator.services.completing import Completion
from orchestrator.services.inline import Contained
from orchestrator.settings import Settings
from tests.support import attempts, engine
from tests.support.bodies import body, definition, drive, ended, probe
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound, assert_sound

SECRET = "canary-77aa01"


@pytest.fixture
def ours(database: Database) -> Engine:
    return engine.make(database)


def each(**fields: Any) -> dict[str, Any]:
    return {"id": "each", "type": "parallel", **fields}


def loop(**fields: Any) -> dict[str, Any]:
    return {"id": "again", "type": "loop", "mode": "for", **fields}


def finished(ours: Engine, run_id: str) -> tuple[str, dict[str, str]]:
    drive(ours, run_id)
    assert_run_sound(ours.deps, run_id)
    return str(ours.row(run_id).status), ours.statuses(run_id)


def test_an_iteration_that_is_woken_twice_at_once_starts_once(ours: Engine) -> None:
    """The timer of a process and a sweep of another one come for the same iteration."""
    inner = body({"id": "add", "type": "set", "values": {"n": "{{var.n + 1}}"}})
    counting = loop(mode="while", condition="var.n < 4", max_iterations=10, body=inner)
    ours.publish(definition(counting, variables={"n": 1}))

    def woken(timer: Timer) -> None:
        ours.send(sweeps.wake(ours.deps, timer))

    for _ in range(20 if ours.deps.db.is_sqlite else 60):
        run_id = ours.start("w")
        while ours.timers:
            timer = ours.timers.pop(0)
            ours.timers.clear()
            wakes = [threading.Thread(target=woken, args=(timer,)) for _ in range(2)]
            for thread in wakes:
                thread.start()
            for thread in wakes:
                thread.join()
        assert ours.data(run_id).variables == {"n": 4}
        assert finished(ours, run_id)[0] == "success"


def test_the_last_branches_end_at_once(ours: Engine) -> None:
    """200 races of the last steps of two branches, each in an engine of its own: one of them ends the container."""
    inner = body(probe("x", does={"succeed": "{{index}}"}))
    ours.publish(
        definition(each(count=2, body=inner), {"id": "after", "type": "noop"}, edges=["each >> after"])
    )
    rounds = 200 if not ours.deps.db.is_sqlite else 20
    other = engine.Carrier(deps=ours.deps, send=ours.send, keeper=ours.carrier.keeper)
    for _ in range(rounds):
        run_id = ours.start("w")
        messages = [message for message, _ in ours.inbox]
        ours.inbox.clear()
        assert len(messages) == 2
        barrier = threading.Barrier(2)

        def carry(carrier: engine.Carrier, message: Message, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            carrier.carry(message)

        pairs = zip((ours.carrier, other), messages, strict=True)
        threads = [threading.Thread(target=carry, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ours.row(run_id).status == "success", ours.statuses(run_id)
    assert_sound(ours.deps)


def test_every_message_twice_and_once_more_when_all_is_over(ours: Engine) -> None:
    inner = loop(count=2, body=body(probe("x"), probe("y"), edges=["x >> y"]))
    ours.publish(definition(each(count=3, max_concurrency=2, body=body(inner))))
    run_id = ours.start("w")
    seen = []
    while ours.inbox:
        message, in_chord = ours.inbox.pop()
        seen.append(message)
        for _ in range(2):
            ours.carrier.carry(message, in_chord=in_chord)
    drive(ours, run_id)
    before = len(attempts.events(ours, run_id))
    for message in seen:
        ours.carrier.carry(message)
    assert len(attempts.events(ours, run_id)) == before
    assert finished(ours, run_id)[0] == "success"


def test_a_worker_lost_in_a_branch_is_replaced(ours: Engine) -> None:
    ours.publish(definition(loop(count=2, body=body(each(count=2, body=body(probe("x")))))))
    run_id = ours.start("w")
    claimed = attempts.take(ours, "again[0]/each[1]/x")
    drive(ours, run_id)
    attempts.lose(ours, claimed)
    attempts.end(ours, claimed)
    assert finished(ours, run_id)[0] == "success"
    assert len(attempts.attempts(ours, run_id, "again[0]/each[1]/x")) == 2


def test_a_late_success_of_a_branch_that_was_ended_moves_nothing(ours: Engine) -> None:
    inner = body(probe("x", when="index == 0"), probe("bad", when="index == 1", does={"fail": "TOOL_FAILED"}))
    ours.publish(definition(each(count=2, body=inner)))
    run_id = ours.start("w")
    claimed = attempts.take(ours, "each[0]/x")
    drive(ours, run_id)
    attempts.end(ours, claimed)
    status, statuses = finished(ours, run_id)
    assert (status, statuses["each[0]/x"], statuses["each[1]/bad"]) == ("failed", "aborted", "failed")


@pytest.mark.parametrize("retried", [False, True])
def test_a_container_outruns_its_timeout(ours: Engine, retried: bool) -> None:
    inner = loop(
        count=2,
        body=body(probe("x", does=[{"wait": "a signal"}, {"wait": "it"}, {"succeed": 1}])),
    )
    retry = {"retry": {"max_attempts": 2, "initial": "1ms"}} if retried else {}
    ours.publish(definition(each(count=2, timeout=5, body=body(inner), **retry)))
    run_id = ours.run("w")
    assert ours.statuses(run_id)["each[1]/again[0]/x"] == "waiting"
    attempts.outrun(ours, run_id, "each")
    drive(ours, run_id)
    if not retried:
        assert finished(ours, run_id)[0] == "failed"
        assert ours.row(run_id).error["code"] == "TIMEOUT"
        return
    found = ours.statuses(run_id)
    assert (found["each"], found["each[0]/again[0]/x"], found["each[0]/again[1]/x"]) == (
        "waiting",
        "success",
        "waiting",
    )
    attempts.outrun(ours, run_id, "each")
    assert finished(ours, run_id)[0] == "failed"


def test_a_run_outruns_its_timeout_within_a_container(ours: Engine) -> None:
    inner = body(each(count=2, body=body(probe("x", does={"wait": "a signal"}))))
    ours.publish(definition(loop(count=2, body=inner), timeout="1h"))
    run_id = ours.run("w")
    attempts.execute(
        ours, "UPDATE run SET timeout_at = :at WHERE id = :run", at=attempts.long_ago(ours), run=run_id
    )
    ours.send(sweeps.run(ours.deps, "timeouts").effects)
    assert finished(ours, run_id)[0] == "failed"
    assert ours.row(run_id).error["code"] == "TIMEOUT"


def test_a_pause_between_two_inline_iterations(ours: Engine) -> None:
    ours.publish(definition(loop(count=4, body=body({"id": "x", "type": "noop"}))))
    run_id = ours.start("w")
    runs.pause(ours.deps, ours.actor, run_id, "wait")
    drive(ours, run_id)
    assert ours.row(run_id).status == "paused"
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    assert finished(ours, run_id)[0] == "success"


def test_an_abort_between_two_inline_iterations(ours: Engine) -> None:
    ours.publish(definition(loop(count=4, body=body({"id": "x", "type": "noop"}))))
    run_id = ours.start("w")
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    assert finished(ours, run_id) == ("aborted", {"again": "aborted", "again[0]/x": "success"})


@pytest.mark.parametrize(("policy", "status"), [("abort", "aborted"), ("pause", "paused")])
def test_a_budget_is_spent_within_a_map(ours: Engine, policy: str, status: str) -> None:
    inner = body(probe("x", estimated_cost_cents=3), probe("y"), edges=["x >> y"])
    budget = {"limit_cents": 10, "on_exceeded": policy}
    ours.publish(definition(each(items="{{inputs.them}}", max_concurrency=2, body=inner), budget=budget))
    run_id = ours.start("w", inputs={"them": list(range(6))})
    found, statuses = finished(ours, run_id)
    assert found == status
    assert sum(path.endswith("/x") and found == "success" for path, found in statuses.items()) == 3


def test_a_container_is_not_opened_in_a_run_that_is_being_stopped(ours: Engine) -> None:
    """It had been claimed, so that it is let end; its branches would wait for ever."""
    inner = body(probe("y", does=[{"fail": "TOOL_FAILED"}, {"succeed": 1}]))
    commitment = {"idempotency_key": "k", "compensate": {"type": "none", "reason": "it can't be undone"}}
    retried = {"side_effects": "external", "retry": {"max_attempts": 2, "initial": "1ms"}}
    ours.publish(definition(each(count=2, body=inner, **commitment, **retried)))
    run_id = ours.run("w")
    ours.send(sweeps.wake(ours.deps, ours.timers.pop()))
    claimed = attempts.take(ours, "each")
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    assert ours.statuses(run_id)["each"] == "running"
    with ours.deps.db.transaction() as session:
        effects, _ = Completion(deps=ours.deps, claimed=claimed).write(session, Contained())
    ours.send(effects)
    status, statuses = finished(ours, run_id)
    assert (status, statuses["each"]) == ("aborted", "aborted")


def test_branches_of_inline_nodes_alone(ours: Engine) -> None:
    """No transaction evaluates more than its share; the rest travels."""
    inner = body(
        {"id": "a", "type": "noop"},
        {"id": "b", "type": "condition", "expression": "index > 1"},
        edges=["a >> b"],
    )
    ours.publish(definition(each(count=500, body=inner, collect="{{index}}")))
    run_id = ours.start("w")
    assert sum(found == "success" for found in ours.statuses(run_id).values()) <= 100
    assert finished(ours, run_id)[0] == "success"
    found = run_views.run(ours.deps, ours.actor, run_id)["outputs"]["each"]
    assert found == {"results": list(range(500)), "count": 500, "failed": 0}


def test_nothing_within_nothing(ours: Engine) -> None:
    inner = loop(count=0, body=body(each(items=[], body=body(probe("x")))))
    outer = each(count=3, body=body(inner)) | {"id": "outer"}
    nothing = {"results": [], "count": 0, "failed": 0}
    assert ended(ours, definition(outer))["outputs"]["outer"]["results"] == [nothing] * 3


def test_twenty_levels(ours: Engine) -> None:
    node = probe("x", does={"succeed": "deep"})
    for level in range(20):
        node = each(count=1, body=body(node), collect=f"{{{{{node['id']}}}}}") | {"id": f"c{level}"}
    found = ended(ours, definition(node))
    path = "/".join(f"c{level}[0]" for level in reversed(range(20))) + "/x"
    assert (found["status"], ours.statuses(found["id"])[path]) == ("success", "success")


def test_own_keys_are_apart_in_branches(ours: Engine) -> None:
    inner = body(probe("x", idempotency_key="{{inputs.id}}"))
    found = ended(ours, definition(each(count=2, body=inner)), inputs={"id": "order"})
    keys = [attempts.step(ours, found["id"], f"each[{place}]/x").idempotency_key for place in range(2)]
    assert keys == ["order:each[0]/x", "order:each[1]/x"]


def test_a_body_within_an_iteration_sees_what_the_one_before_left(ours: Engine) -> None:
    told = {"succeed": "{{later.n?}}"}
    inner = body(
        each(count=2, body=body(probe("x", does=told)), collect="{{x}}/{{later.n?}}"),
        probe("later", does={"succeed": {"n": "{{loop.index}}"}}),
        edges=["each >> later"],
    )
    found = ended(ours, definition(loop(count=3, body=inner, collect="{{each.results}}")))
    assert found["outputs"]["again"]["results"] == [["null/null"] * 2, ["0/0"] * 2, ["1/1"] * 2]


def test_an_inner_name_hides_an_outer_one(ours: Engine) -> None:
    inner = body(
        probe("x", does={"succeed": "inner"}), probe("y", does={"succeed": "{{x}}"}), edges=["x >> y"]
    )
    described = definition(
        probe("x", does={"succeed": "outer"}),
        each(count=1, body=inner),
        probe("z", does={"succeed": "{{x}}"}),
        edges=["x >> each >> z"],
    )
    found = ended(ours, described)
    assert (
        found["outputs"],
        run_views.step(ours.deps, ours.actor, found["id"], "each")["output"]["results"],
    ) == (
        {"z": "outer"},
        ["inner"],
    )


def test_no_secret_of_the_environment_is_stored(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    ours = engine.make(database, settings=Settings(env_allow=("TOKEN",)))
    inner = body(
        probe("told", does={"succeed": {"given": "{{env.TOKEN}}", "n": "{{index}}"}}),
        {"id": "kept", "type": "set", "values": {"token": "{{env.TOKEN}}"}},
        probe("bad", does={"raise": "{{env.TOKEN}}"}),
        edges=["told >> kept >> bad"],
    )
    middle = loop(count=2, body=inner, collect="{{told.given}}", retry={"max_attempts": 2, "initial": "1ms"})
    found = ended(ours, definition(each(count=2, on_error="collect", body=body(middle))))
    assert found["outputs"]["each"]["failed"] == 2
    assert SECRET not in repr(_everything(ours))


def _everything(ours: Engine) -> list[Any]:
    """All rows of all tables."""
    with ours.deps.db.read() as session:
        names = inspect(session.get_bind()).get_table_names()
        return [row for name in names for row in session.execute(text(f'SELECT * FROM "{name}"'))]


def test_a_step_in_a_branch_is_shown_by_its_path(ours: Engine) -> None:
    found = ended(ours, definition(each(count=4, body=body(probe("x")))))
    shown = run_views.step(ours.deps, ours.actor, found["id"], "each[3]/x")
    assert (shown["path"], shown["status"]) == ("each[3]/x", "success")
