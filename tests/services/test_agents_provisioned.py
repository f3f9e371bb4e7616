"""The files of a run's agents: written once, from their templates, before it works with any of them."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select

from models.database import Database
from models.outbox import Outbox
from orchestrator.bridge import Dispatch, Endpoint
from orchestrator.core.outcome import Succeeded
from orchestrator.services import provisioning, relays, runs, telling
from tests.support import attempts
from tests.support.desk import KIND, Desk, Office, answers, office, step
from tests.support.histories import execute
from tests.support.probes import NAME, Clock, ends, probe

FILES = {"SOUL.md": "You are {{agent.name}}, {{agent.role}} of {{workflow}}.", "ORDER.md": "{{inputs.order}}"}


def entries(ours: Office) -> list[Outbox]:
    with ours.engine.deps.db.read() as session:
        return list(session.scalars(select(Outbox)))


def staffed(database: Database, *nodes: dict[str, Any], files: Any = FILES, **fields: Any) -> Office:
    ours = office(database, *nodes, **fields)
    ours.agent("ada", ours.gateway(), role="judge", files=files)
    return ours


def test_files_are_there_before_the_first_dispatch(database: Database) -> None:
    there: list[Any] = []

    def looks(_: Dispatch) -> Succeeded:
        there.append(dict(ours.desk.written))
        return answers("done")

    ours = staffed(database, does=looks)
    run_id = ours.engine.start(NAME, inputs={"order": {"n": 7}})
    assert [entry.kind for entry in entries(ours)] == ["provision"]
    claimed = attempts.take(ours.engine, "a")
    attempts.end(ours.engine, claimed)
    row = attempts.step(ours.engine, run_id, "a")
    assert (row.status, row.waiting_for) == ("waiting", telling.UNWRITTEN)
    ends(ours.engine, run_id, "success")
    assert there == [{"ada": {"SOUL.md": "You are ada, judge of w.", "ORDER.md": '{"n":7}'}}]
    assert entries(ours) == []
    assert [row.number for row in attempts.attempts(ours.engine, run_id, "a")] == [1]


@pytest.mark.parametrize("files", [None, {}])
def test_a_run_without_files_waits_for_none(database: Database, files: Any) -> None:
    ours = staffed(database, files=files)
    run_id = ours.engine.start(NAME)
    assert entries(ours) == []
    ends(ours.engine, run_id, "success")


def test_only_agents_that_are_named_literally_count(database: Database) -> None:
    ours = staffed(database, step(agent="{{inputs.who}}"), step("b", role="judge"))
    run_id = ours.engine.start(NAME, inputs={"who": "ada"})
    assert entries(ours) == []
    ends(ours.engine, run_id, "success")
    assert ours.desk.written == {}


def test_agents_in_bodies_count(database: Database) -> None:
    body = {"nodes": [step()]}
    ours = staffed(
        database, {"id": "each", "type": "parallel", "count": 2, "body": body}, files={"A.md": "x"}
    )
    run_id = ours.engine.run(NAME)
    ends(ours.engine, run_id, "success")
    assert ours.desk.written == {"ada": {"A.md": "x"}}


def test_a_gateway_that_is_away_is_waited_for(database: Database) -> None:
    clock = Clock()
    ours = office(database, clock=clock)
    gateway_id = ours.gateway()
    ours.agent("ada", gateway_id, files={"A.md": "x"})
    ours.desk.away.add(gateway_id)
    run_id = ours.engine.run(NAME)
    assert attempts.step(ours.engine, run_id, "a").waiting_for == telling.UNWRITTEN
    clock.now += 60
    ours.sweep()
    assert attempts.told(ours.engine, run_id).count("step.resumed") == 0, "nobody wakes it in vain"
    ours.desk.away.clear()
    execute(ours.engine, "UPDATE outbox SET due_at = :at", at=attempts.long_ago(ours.engine))
    ours.sweep()
    ends(ours.engine, run_id, "success")
    assert ours.desk.written == {"ada": {"A.md": "x"}}


def test_a_template_without_a_value_fails_the_run(database: Database) -> None:
    ours = staffed(database, files={"A.md": "{{inputs.nothing}}"})
    run_id = ours.engine.run(NAME)
    ends(ours.engine, run_id, "failed")
    error = ours.engine.row(run_id).error
    assert error["code"] == "VALIDATION"
    assert "the file A.md of agent ada has no value" in error["message"]
    assert ours.desk.runs == {}


def test_other_steps_do_not_wait_for_files(database: Database) -> None:
    ours = office(database, step(), probe("b"))
    gateway_id = ours.gateway()
    ours.agent("ada", gateway_id, files={"A.md": "x"})
    ours.desk.away.add(gateway_id)
    run_id = ours.engine.run(NAME)
    assert ours.engine.statuses(run_id) == {"a": "waiting", "b": "success"}
    ours.engine.send(runs.abort(ours.engine.deps, ours.engine.actor, run_id, "enough"))
    ours.desk.away.clear()
    execute(ours.engine, "UPDATE outbox SET due_at = :at", at=attempts.long_ago(ours.engine))
    ours.sweep()
    ends(ours.engine, run_id, "aborted")
    assert {entry.kind for entry in entries(ours)} <= {"stop"}
    assert ours.desk.written == {}, "nobody needs them any more"


@dataclass(slots=True)
class SlowDesk(Desk):
    """The first who writes files is held up before it does."""

    log: list[str] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)

    def provision(self, endpoint: Endpoint, agent: str, files: Mapping[str, str]) -> None:
        if not self.entered.is_set():
            self.entered.set()
            assert self.goes_on.wait(30)
        self.log.append(f"files of {agent}")
        Desk.provision(self, endpoint, agent, files)


def works(desk: SlowDesk) -> None:
    def done(_: Dispatch) -> Succeeded:
        desk.log.append("work")
        return answers("done")

    desk.does = done


def held_up(database: Database, clock: Clock | None = None) -> tuple[Office, SlowDesk, str, threading.Thread]:
    """A run of ada's and bob's, whose files a carrier is about to write."""
    ours = office(database, step(), step("b", agent="bob"), edges=[{"from": "a", "to": "b"}], clock=clock)
    gateway_id = ours.gateway()
    for name in ("ada", "bob"):
        ours.agent(name, gateway_id, files={"MEMORY.md": "start"})
    desk = SlowDesk()
    works(desk)
    vars(ours.engine.deps)["gateways"] = {KIND: desk}
    run_id = ours.engine.start(NAME)
    entry = ours.engine.relays[0].outbox_id
    first = threading.Thread(
        target=lambda: ours.engine.send(relays.carry_out(ours.engine.deps, entry)), daemon=True
    )
    first.start()
    assert desk.entered.wait(30)
    return ours, desk, run_id, first


def test_two_carriers_write_the_files_once(database: Database) -> None:
    ours, desk, run_id, first = held_up(database)
    ours.engine.drain()
    assert desk.log == [], "the second carrier leaves, and no agent works yet"
    desk.goes_on.set()
    first.join()
    ends(ours.engine, run_id, "success")
    assert desk.log == ["files of ada", "files of bob", "work", "work"]
    assert entries(ours) == []


def test_a_carrier_that_lost_its_lease_writes_no_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisioning, "LEASE_SECONDS", 0.0)
    ours, desk, run_id, first = held_up(database)
    ours.engine.drain()
    assert desk.log == ["files of ada", "files of bob", "work", "work"]
    desk.goes_on.set()
    first.join()
    ends(ours.engine, run_id, "success")
    assert desk.log[4:] == ["files of ada"], "what it was at; bob's are left alone"
