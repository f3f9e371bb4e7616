"""`/api/agents/{agent}/work`: steps are pulled under a lease, each by one agent at a time."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.services import runs
from orchestrator.settings import Settings
from tests.api.conftest import Api
from tests.api.pulling import TASK, WANTED, define, end, lapse, pull, puller, started
from tests.support import attempts, offers
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.polling import poll
from tests.support.soundness import assert_run_sound


@pytest.fixture
def worker(api: Api) -> Api:
    return puller(api)


def test_a_step_is_pulled_and_completed(api: Api, worker: Api, engine: Engine) -> None:
    run = started(api)
    taken = pull(worker)
    assert taken["step"] == {
        "run_id": run,
        "workflow": "pulled",
        "path": "ask",
        "node": "ask",
        "attempt": 1,
        "idempotency_key": f"{run}:ask",
        "task": {**TASK, "title": "Look ants up"},
    }
    assert taken["input"]["topic"] == "ants"
    assert taken["lease_seconds"] == 30
    assert api.done(api.get("/api/agents/puller"))["load"] == 1
    waits = api.done(api.get(f"/api/runs/{run}/steps/ask"))["waiting_for"]
    assert waits.startswith("agent puller, which has claimed it")
    pull(worker, status=204)
    usage = {"input": 10, "output": 5, "cost_microcents": 70}
    body = {"text": 'see {"n": 1}', "output": {"n": 2}, "usage": usage, "model": "m-1"}
    ended = end(worker, taken, "complete", body)
    assert ended == {"run_id": run, "path": "ask", "attempt": 1, "status": "success"}
    engine.drain()
    step = api.done(api.get(f"/api/runs/{run}/steps/ask"))
    assert (step["output"]["text"], step["output"]["output"]) == ('see {"n": 1}', {"n": 2})
    assert (step["agent"], step["model"]) == ("puller", "m-1")
    assert step["tokens"] == {"input": 10, "output": 5}
    assert api.done(api.get(f"/api/runs/{run}"))["status"] == "success"
    assert api.done(api.get("/api/agents/puller"))["load"] == 0
    end(worker, taken, "complete", body, 409)
    assert_run_sound(engine.deps, run)


def test_a_failure_is_the_policys_business(api: Api, engine: Engine) -> None:
    define(api, "ask", retry={"max_attempts": 2, "initial": 0, "jitter": 0, "policy": "always"})
    worker = api.enrolled("puller", capabilities=["web"])[0]
    run = started(api)
    error = {"message": "no net", "code": "NETWORK", "details": {"host": "x"}}
    assert end(worker, pull(worker), "fail", {"error": error})["status"] == "retrying"
    engine.sweep()
    engine.drain()
    offers.offer(engine.deps, engine.actor.workspace_id, run, "ask", **WANTED)
    taken = pull(worker)
    assert taken["step"]["attempt"] == 2
    assert end(worker, taken, "fail", {"error": {"message": "bad"}})["status"] == "failed"
    engine.drain()
    step = api.done(api.get(f"/api/runs/{run}/steps/ask"))
    assert [(a["error"]["code"], a["agent"]) for a in step["attempt_log"]] == [
        ("NETWORK", "puller"),
        ("TOOL_FAILED", "puller"),
    ]
    assert_run_sound(engine.deps, run)


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("complete", {}),
        ("complete", {"text": 7}),
        ("complete", {"text": "x", "usage": {"input": -1}}),
        ("complete", {"text": "x", "error": {"message": "m"}}),
        ("complete", {"text": "x", "model": ""}),
        ("fail", {}),
        ("fail", {"error": {}}),
        ("fail", {"error": {"message": "m", "code": "NOPE"}}),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_bad_ending_is_refused_and_the_work_stays(api: Api, worker: Api, act: str, body: Any) -> None:
    run = started(api)
    taken = pull(worker)
    end(worker, taken, act, body, 422)
    assert end(worker, taken, "complete", {"output": {"ok": True}})["status"] == "success"
    assert_run_sound(api.engine.deps, run)


@pytest.mark.parametrize(
    ("wanted", "gets"),
    [
        ({"role": "worker"}, True),
        ({"role": "worker", "capabilities": ["pdf", "web"]}, True),
        ({"capabilities": ["web"]}, True),
        ({"role": "chief"}, False),
        ({"role": "worker", "capabilities": ["web", "java"]}, False),
        ({"role": "worker", "capabilities": ["we"]}, False),
        ({"agent_id": "other"}, False),
        ({"agent_id": "puller"}, True),
    ],
)
def test_it_gets_what_is_for_it(api: Api, worker: Api, wanted: dict[str, Any], gets: bool) -> None:
    api.enrolled("other")
    if "agent_id" in wanted:
        wanted = {"agent_id": api.done(api.get(f"/api/agents/{wanted['agent_id']}"))["id"]}
    started(api, wanted=wanted)
    pull(worker, status=200 if gets else 204)


def test_by_priority_then_by_age(api: Api, worker: Api) -> None:
    order = [started(api, rank=rank) for rank in (0, -5, 0, -5)]
    got = [pull(worker)["step"]["run_id"] for _ in order]
    assert got == [order[1], order[3], order[0], order[2]]


def test_limits_and_statuses_hold_work_back(api: Api, worker: Api, engine: Engine) -> None:
    for _ in range(4):
        started(api)
    api.done(api.patch("/api/agents/puller", {"max_concurrent": 1}))
    first = pull(worker)
    pull(worker, status=204)
    end(worker, first, "complete", {"text": "done"})
    second = pull(worker)
    api.done(api.patch("/api/agents/puller", {"max_concurrent": None, "rate_limit": 2}))
    pull(worker, status=204)
    execute(engine, "UPDATE attempt SET claimed_at = :at, begun_at = :at", at=attempts.long_ago(engine))
    third = pull(worker)
    api.done(api.patch("/api/agents/puller", {"rate_limit": None}))
    for status in ("failed", "stopped"):
        worker.done(worker.post("/api/agents/puller/heartbeat", {"status": status}))
        pull(worker, status=204)
    worker.done(worker.post("/api/agents/puller/heartbeat", {"status": "idle"}))
    assert len({taken["step"]["run_id"] for taken in (first, second, third, pull(worker))}) == 4


def test_nothing_of_a_run_that_is_paused_or_stopped(api: Api, worker: Api, engine: Engine) -> None:
    run = started(api)
    runs.pause(engine.deps, engine.actor, run, "lunch")
    pull(worker, status=204)
    engine.send(runs.resume(engine.deps, engine.actor, run))
    taken = pull(worker)
    engine.send(runs.abort(engine.deps, engine.actor, run, "enough"))
    for act, body in (("renew", {}), ("complete", {"text": "late"}), ("fail", {"error": {"message": "m"}})):
        end(worker, taken, act, body, 409)
    engine.sweep()
    with engine.deps.db.read() as session:
        assert session.execute(text("SELECT count(*) FROM work")).scalar_one() == 0
    assert_run_sound(engine.deps, run)


def test_a_lease_that_ran_out_is_another_agents(api: Api, worker: Api, engine: Engine) -> None:
    run = started(api)
    second = api.enrolled("second", capabilities=["web"])[0]
    taken = pull(worker)
    pull(second, "second", 204)
    lapse(engine)
    assert api.done(api.get("/api/agents/puller"))["load"] == 0
    again = pull(second, "second")
    assert again["step"]["attempt"] == taken["step"]["attempt"]
    assert again["lease_token"] != taken["lease_token"]
    for act, body in (("renew", {}), ("complete", {"text": "late"}), ("fail", {"error": {"message": "m"}})):
        refused = worker.post(f"/api/agents/puller/work/{taken['lease_token']}/{act}", body)
        assert (refused.status_code, refused.json["code"]) == (409, "CONFLICT")
    end(second, again, "complete", {"text": "mine"}, name="second")
    engine.drain()
    step = api.done(api.get(f"/api/runs/{run}/steps/ask"))
    assert (step["output"]["text"], step["agent"]) == ("mine", "second")
    assert_run_sound(engine.deps, run)


def test_a_lease_counts_before_any_sweep_has_seen_it(api: Api, worker: Api, engine: Engine) -> None:
    started(api)
    taken = pull(worker)
    execute(engine, "UPDATE work SET lease_until = :at", at=attempts.long_ago(engine))
    end(worker, taken, "complete", {"text": "late"}, 409)
    end(worker, taken, "renew", {}, 409)


def test_a_lease_is_prolonged(api: Api, worker: Api, engine: Engine) -> None:
    started(api)
    taken = pull(worker)
    renewed = end(worker, taken, "renew", {})
    assert renewed["lease_until"] > taken["lease_until"]
    assert set(renewed) == {"lease_until", "lease_seconds"}
    engine.sweep()
    pull(api.enrolled("second", capabilities=["web"])[0], "second", 204)


def test_three_lost_leases_fail_the_step(api: Api, worker: Api, engine: Engine) -> None:
    run = started(api)
    for _ in range(3):
        pull(worker)
        lapse(engine)
    pull(worker, status=204)
    engine.drain()
    ended = api.done(api.get(f"/api/runs/{run}"))
    assert (ended["status"], ended["error"]["code"]) == ("failed", "WORKER_LOST")
    assert_run_sound(engine.deps, run)


def test_a_lease_is_the_claimers_alone(api: Api, worker: Api) -> None:
    started(api)
    taken = pull(worker)
    thief = api.enrolled("thief", capabilities=["web"])[0]
    end(thief, taken, "complete", {"text": "stolen"}, 409, name="thief")
    end(thief, taken, "complete", {"text": "stolen"}, 403)
    end(worker, taken, "complete", {"text": "mine"})


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_work_of_another_workspace_is_not_offered(api: Api, worker: Api) -> None:
    started(api)
    other = api.elsewhere().enrolled("puller", capabilities=["web", "pdf"])[0]
    pull(other, status=204)
    pull(worker)


def test_repeats_are_done_once(api: Api, worker: Api, engine: Engine) -> None:
    for _ in range(2):
        started(api)
    path = "/api/agents/puller/work"
    first, again = (worker.post(path, headers={"Idempotency-Key": "w1"}) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert first.json == again.json
    assert again.headers["Idempotent-Replayed"] == "true"
    taken = first.json
    assert taken is not None
    ends = [
        worker.post(
            f"{path}/{taken['lease_token']}/complete", {"text": "x"}, headers={"Idempotency-Key": "c1"}
        )
        for _ in range(2)
    ]
    assert [answer.json["status"] for answer in ends] == ["success", "success"]
    assert worker.post(path, headers={"Idempotency-Key": "w1"}).status_code == 409
    with engine.deps.db.read() as session:
        kept = [tuple(row) for row in session.execute(text("SELECT * FROM idempotent_answer"))]
    assert taken["lease_token"] not in json.dumps(kept, default=str)


def test_a_repeat_that_got_nothing_asks_again(api: Api, worker: Api) -> None:
    headers = {"Idempotency-Key": "w1"}
    assert worker.post("/api/agents/puller/work", headers=headers).status_code == 204
    started(api)
    assert worker.post("/api/agents/puller/work", headers=headers).status_code == 200


def test_a_step_whose_task_makes_no_sense_fails_alone(api: Api, worker: Api, engine: Engine) -> None:
    bad = {"id": "ask", "type": "agent", "role": "worker", "task": "{{inputs.what}}"}
    api.define({"name": "bad", "nodes": [{**bad, "task": {"title": "{{inputs.what}}"}}]})
    run = api.run("bad", inputs={"what": "fine"})["id"]
    offers.offer(engine.deps, engine.actor.workspace_id, run, "ask", role="worker")
    good = started(api)
    execute(engine, "UPDATE run_data SET inputs = :none WHERE run_id = :run", none="{}", run=run)
    assert pull(worker)["step"]["run_id"] == good
    engine.drain()
    ended = api.done(api.get(f"/api/runs/{run}"))
    assert (ended["status"], ended["error"]["code"]) == ("failed", "UNRESOLVED_REFERENCE")


def test_a_call_that_waits_gets_what_comes(api: Api, worker: Api) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pull, worker, wait=30)
        places = api.app.extensions["orchestrator"].places
        poll(lambda: places.taken == 1, what="the call waits")
        run = started(api)
        assert waiting.result(30)["step"]["run_id"] == run
    assert places.taken == 0


def test_a_call_that_waits_for_nothing_ends(worker: Api) -> None:
    began = time.monotonic()
    pull(worker, status=204, wait=1)
    assert 0.4 < time.monotonic() - began < 10
    assert worker.call("POST", "/api/agents/puller/work?wait=31").status_code == 422
    assert worker.call("POST", "/api/agents/puller/work?wait=-1").status_code == 422


@pytest.mark.parametrize("database_kind", ["sqlite"])
class TestPlaces:
    @pytest.fixture
    def api_settings(self, api_settings: Settings) -> Settings:
        return replace(api_settings, sse_max=1)

    def test_calls_that_wait_take_places_and_give_them_back(self, api: Api, worker: Api) -> None:
        place = api.app.extensions["orchestrator"].places.take()
        answer = worker.call("POST", "/api/agents/puller/work?wait=1")
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        pull(worker, status=204)
        place.leave()
        pull(worker, status=204, wait=1)
        assert worker.call("POST", "/api/agents/nobody/work?wait=1").status_code == 404
        assert api.app.extensions["orchestrator"].places.taken == 0


def test_each_of_50_is_given_to_one_of_20(api: Api, make_api: Callable[..., Api], engine: Engine) -> None:
    names = [f"n{number}" for number in range(50)]
    define(api, *names)
    apis = [api, make_api()]
    pullers = [
        (f"p{number}", apis[number % 2].using(api.enrolled(f"p{number}", capabilities=["web"])[0].key))
        for number in range(20)
    ]
    run = started(api, *names)
    gate, given, lock = threading.Barrier(20), Counter[str](), threading.Lock()

    def work(puller: tuple[str, Api]) -> None:
        name, own = puller
        gate.wait(30)
        while True:
            answer = own.call("POST", f"/api/agents/{name}/work?wait=1")
            if answer.status_code == 204:
                return
            taken = own.done(answer)
            with lock:
                given[taken["step"]["path"]] += 1
            end(own, taken, "complete", {"text": name}, name=name)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, pullers))
    assert given == Counter(dict.fromkeys(names, 1))
    engine.drain()
    assert api.done(api.get(f"/api/runs/{run}"))["status"] == "success"
    assert_run_sound(engine.deps, run)
