"""Work that agents have claimed or were offered goes back."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from models.queries import work as queries
from orchestrator.core.effects import Resume
from tests.api.conftest import Api
from tests.api.pulling import WANTED, define, end, lapse, pull, puller, started
from tests.support import attempts, offers
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound


@pytest.fixture
def worker(api: Api) -> Api:
    return puller(api)


def sent(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the steps that are told to go on."""
    found: list[str] = []
    send = Engine.send

    def note(self: Engine, effects: Any) -> None:
        found.extend(effect.message.path for effect in effects if isinstance(effect, Resume))
        send(self, [effect for effect in effects if not isinstance(effect, Resume)])

    monkeypatch.setattr(Engine, "send", note)
    return found


def test_a_removed_agents_work_goes_back(
    api: Api, engine: Engine, make_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = sent(engine, monkeypatch)
    api = make_api()
    define(api, "own", "roles")
    own, made = api.enrolled("puller", capabilities=["web"])
    run = started(api, "roles")
    offers.offer(engine.deps, engine.actor.workspace_id, run, "own", agent_id=made["agent_id"])
    assert {pull(own)["step"]["path"], pull(own)["step"]["path"]} == {"own", "roles"}
    api.done(api.delete("/api/agents/puller"))
    assert told == ["own"]
    assert attempts.step(engine, run, "own").due_at is not None
    assert {attempts.step(engine, run, path).agent_id for path in ("own", "roles")} == {None}
    second = api.enrolled("second", capabilities=["web"])[0]
    again = pull(second, "second")
    assert again["step"]["path"] == "roles"
    pull(second, "second", 204)
    assert_run_sound(engine.deps, run)


def test_an_agent_that_gets_a_gateway_pulls_no_more(
    api: Api, engine: Engine, make_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = sent(engine, monkeypatch)
    api = make_api()
    api.done(api.post("/api/gateways", {"name": "hub", "url": "ws://127.0.0.1:1"}), 201)
    define(api, "ask")
    own, made = api.enrolled("puller")
    started(api, wanted={"agent_id": made["agent_id"]})
    own.done(own.patch("/api/agents/puller", {"gateway": "hub"}))
    assert told == ["ask"]
    pull(own, status=204)


@pytest.mark.parametrize("gone", ["silent", "removed"])
def test_a_stop_waits_for_no_agent_that_is_gone(api: Api, engine: Engine, gone: str) -> None:
    signs = {"id": "ask", "type": "agent", "role": "worker", "compensate": {"type": "none", "reason": "a test"}}
    api.define({"name": "pulled", "nodes": [signs]})
    own = api.enrolled("puller")[0]
    run = started(api, wanted={"role": "worker"})
    taken = pull(own)
    assert api.done(api.post(f"/api/runs/{run}/abort"))["status"] == "running"
    if gone == "silent":
        lapse(engine)
    else:
        api.done(api.delete("/api/agents/puller"))
        engine.sweep()
    assert api.done(api.get(f"/api/runs/{run}"))["status"] == "aborted"
    error = api.done(api.get(f"/api/runs/{run}/steps/ask"))["error"]
    assert error["code"] == "WORKER_LOST"
    if gone == "silent":
        end(own, taken, "complete", {"text": "late"}, 409)
    assert_run_sound(engine.deps, run)


def test_an_offer_is_renewed_and_withdrawn(api: Api, worker: Api, engine: Engine) -> None:
    run = started(api)
    taken = pull(worker)
    lapse(engine)
    offers.offer(engine.deps, engine.actor.workspace_id, run, "ask", **WANTED)
    pull(worker)
    lapse(engine)
    offers.offer(engine.deps, engine.actor.workspace_id, run, "ask", **WANTED)
    with engine.deps.db.read() as session:
        assert session.execute(text("SELECT losses, claimed_by FROM work")).one() == (2, None)
    again = pull(worker)
    with engine.deps.db.transaction() as session:
        queries.withdraw(session, run, attempts.step(engine, run, "ask").no)
    end(worker, again, "complete", {"text": "x"}, 409)
    pull(worker, status=204)
    assert taken["step"] == again["step"]
