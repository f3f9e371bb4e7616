"""Signals: early, late, doubled, refused, by run and by key; and waits and pauses beside them."""

import threading
from typing import Any

import pytest
from sqlalchemy import select

from models.database import Database
from models.errors import ConflictError, InvalidError, NotFoundError
from models.signal import Signal
from orchestrator.core.people import Verdict
from orchestrator.services import runs, signals
from orchestrator.services.idempotency import Once
from orchestrator.services.signals import Sent
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.office import DAY, fire, inbox, signal, signal_key, swept, vote
from tests.support.probes import Clock, ended, ends, probe, publish

SCHEMA = {"type": "object", "required": ["by"], "properties": {"by": {"type": "string"}}}


def waits(node_id: str = "wait", **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "signal", "signal": "signed", **fields}


def output(ours: Engine, run_id: str, path: str) -> Any:
    return attempts.attempts(ours, run_id, path)[-1].output


def kept(ours: Engine) -> list[Signal]:
    """What was sent and nobody has taken."""
    mine = select(Signal).where(Signal.workspace_id == ours.actor.workspace_id, Signal.taken_run_id.is_(None))
    with ours.deps.db.read() as session:
        return list(session.scalars(mine))


def test_a_signal_to_a_run_that_waits_is_its_output(database: Database) -> None:
    ours = publish(database, waits(), probe("after"), edges=["wait >> after"])
    run_id = ours.run("w")
    assert attempts.step(ours, run_id, "wait").waiting_for == "the signal signed"
    signal(ours, run_id, "signed", {"by": "ada"})
    assert output(ours, run_id, "wait") == {"by": "ada"}
    (event,) = [event for event in attempts.events(ours, run_id) if event.type == "signal.received"]
    assert (event.step, event.actor) == ("wait", "test")
    assert event.data == {"signal": "signed", "key": None, "id": None}
    ends(ours, run_id, "success")


def test_one_that_came_before_is_taken(database: Database) -> None:
    nodes = ({"id": "first", "type": "approval"}, waits(schema=SCHEMA))
    ours = publish(database, *nodes, edges=["first >> wait"])
    run_id = ours.run("w")
    with pytest.raises(InvalidError):
        signal(ours, run_id, "signed", {"by": 7})
    signal(ours, run_id, "signed", {"by": "ada"})
    signal(ours, run_id, "signed", {"by": "bob"})
    assert len(kept(ours)) == 2
    vote(ours, inbox(ours)[0]["id"])
    fire(ours)
    assert output(ours, run_id, "wait") == {"by": "ada"}
    assert [row.data for row in kept(ours)] == [{"by": "bob"}]
    ends(ours, run_id, "success")


def test_one_that_came_before_is_taken_by_the_sweep_too(database: Database) -> None:
    ours = publish(database, {"id": "first", "type": "approval"}, waits(), edges=["first >> wait"])
    run_id = ours.run("w")
    signal(ours, run_id, "signed", 1)
    vote(ours, inbox(ours)[0]["id"])
    ours.timers.clear()  # the process ended before its timer went off
    swept(ours)
    assert output(ours, run_id, "wait") == 1
    ends(ours, run_id, "success")


def test_the_first_of_a_number_counts(database: Database) -> None:
    ours = publish(database, {"id": "first", "type": "approval"}, waits(), edges=["first >> wait"])
    run_id = ours.run("w")
    for data in ("one", "two"):
        signal(ours, run_id, "signed", data, number="n-1")
    assert len(kept(ours)) == 1
    vote(ours, inbox(ours)[0]["id"])
    fire(ours)
    assert output(ours, run_id, "wait") == "one"
    signal(ours, run_id, "signed", "three", number="n-1")  # its run has ended; it is known all the same
    ends(ours, run_id, "success")


def test_signals_of_one_name_go_to_the_steps_one_by_one(database: Database) -> None:
    body = {"nodes": [waits("sign")]}
    ours = publish(database, {"id": "each", "type": "loop", "mode": "for", "count": 3, "body": body})
    run_id = ours.run("w")
    signal(ours, run_id, "signed", 1)
    signal(ours, run_id, "signed", 2)
    signal(ours, run_id, "signed", 3)
    fire(ours)
    assert [output(ours, run_id, f"each[{n}]/sign") for n in range(3)] == [1, 2, 3]
    ends(ours, run_id, "success")


def test_of_two_that_wait_one_takes_it(database: Database) -> None:
    ours = publish(database, waits("a"), waits("b"))
    run_id = ours.run("w")
    signal(ours, run_id, "signed", 1)
    assert sorted(ours.statuses(run_id).values()) == ["success", "waiting"]
    signal(ours, run_id, "signed", 2)
    assert sorted((output(ours, run_id, "a"), output(ours, run_id, "b"))) == [1, 2]
    ends(ours, run_id, "success")


def test_another_name_is_not_meant(database: Database) -> None:
    ours = publish(database, waits())
    run_id = ours.run("w")
    signal(ours, run_id, "countersigned")
    swept(ours)
    assert ours.statuses(run_id) == {"wait": "waiting"}
    signal(ours, run_id, "signed")
    assert output(ours, run_id, "wait") is None
    ends(ours, run_id, "success")


def test_what_the_schema_refuses_is_not_taken(database: Database) -> None:
    ours = publish(database, waits(schema=SCHEMA))
    run_id = ours.run("w")
    with pytest.raises(InvalidError) as refused:
        signal(ours, run_id, "signed", {})
    assert [(p.pointer, p.code) for p in refused.value.problems] == [("/data/by", "MISSING_FIELD")]
    assert kept(ours) == []
    signal(ours, run_id, "signed", {"by": "ada"})
    ends(ours, run_id, "success")


def test_an_ended_run_takes_none(database: Database) -> None:
    ours = publish(database, waits())
    run_id = ours.run("w")
    runs.abort(ours.deps, ours.actor, run_id, "enough")
    with pytest.raises(ConflictError, match="is aborted already"):
        signal(ours, run_id, "signed")
    with pytest.raises(NotFoundError):
        signal(ours, "no-id", "signed")
    ends(ours, run_id, "aborted")


def test_a_signal_finds_who_waits_for_its_key(database: Database) -> None:
    ours = publish(database, waits(key="{{inputs.envelope}}", schema=SCHEMA))
    one, two = (ours.run("w", inputs={"envelope": envelope}) for envelope in ("e-1", 2))
    told = signal_key(ours, "signed", "2", {"by": "ada"})
    assert (told["run_id"], told["step"]) == (two, "wait")
    assert ours.statuses(one) == {"wait": "waiting"}
    with pytest.raises(InvalidError):
        signal_key(ours, "signed", "e-1", {})
    assert signal_key(ours, "other", "e-1", {"by": "eve"})["run_id"] is None
    assert signal_key(ours, "signed", "e-1", {"by": "bob"})["run_id"] == one
    for run_id in (one, two):
        ends(ours, run_id, "success")


def test_a_keyed_signal_that_comes_before_is_kept_for_who_takes_its_data(database: Database) -> None:
    ours = publish(database, waits(key="e-1", schema=SCHEMA))
    told = signal_key(ours, "signed", "e-1", {"by": 7}, number="n-1")
    assert told == {"signal": "signed", "key": "e-1", "id": "n-1", "run_id": None, "step": None}
    signal_key(ours, "signed", "e-1", {"by": "ada"}, number="n-2")
    signal_key(ours, "signed", "e-1", {"by": "late"}, number="n-2")
    run_id = ours.run("w")
    fire(ours)
    assert output(ours, run_id, "wait") == {"by": "ada"}
    assert [row.data for row in kept(ours)] == [{"by": 7}]
    again = signal_key(ours, "signed", "e-1", {"by": "later"}, number="n-2")
    assert (again["run_id"], again["step"]) == (run_id, "wait")
    ends(ours, run_id, "success")


def test_one_that_was_taken_is_known_whoever_waits_for_its_key_since(database: Database) -> None:
    ours = publish(database, waits(key="k", schema=SCHEMA))
    first = ours.run("w")
    once = {"workspace_id": ours.actor.workspace_id, "key": "retried", "digest": "same", "status": 200}
    sent = Sent(signal="signed", data={"by": "ada"}, id="n-1")
    answer = signals.to_key(ours.deps, ours.actor, "k", sent, Once(**once)).answer
    assert answer["run_id"] == first
    other = {"type": "object", "required": ["other"]}
    ours.publish({"name": "other", "nodes": [waits(key="k", schema=other)], "edges": []})
    ours.run("other")
    assert signals.to_key(ours.deps, ours.actor, "k", sent, Once(**once)).answer == answer
    assert signals.to_key(ours.deps, ours.actor, "k", sent).answer == answer
    assert kept(ours) == []


@pytest.mark.parametrize("length", [1_000, 200])
def test_a_key_that_no_index_holds_is_refused(database: Database, length: int) -> None:
    key = "".join(chr(0x4E00 + n * 7919 % 0x5000) for n in range(length))
    ours = publish(database, waits(key="{{inputs.key}}"))
    run_id = ours.run("w", inputs={"key": key})
    if length == 200:
        assert signal_key(ours, "signed", key)["run_id"] == run_id
        ends(ours, run_id, "success")
        return
    ends(ours, run_id, "failed")
    assert ours.row(run_id).error["code"] == "VALIDATION"
    with pytest.raises(InvalidError) as refused:
        signal_key(ours, "signed", key)
    assert [problem.pointer for problem in refused.value.problems] == ["/key"]


def test_a_key_is_of_one_workspace(database: Database) -> None:
    ours, other = publish(database, waits(key="e-1")), publish(database, waits(key="e-1"))
    run_id = ours.run("w")
    assert signal_key(other, "signed", "e-1")["run_id"] is None
    assert ours.statuses(run_id) == {"wait": "waiting"}
    signal_key(ours, "signed", "e-1")
    ends(ours, run_id, "success")


def test_a_run_takes_a_signal_to_itself_also_where_it_waits_by_key(database: Database) -> None:
    ours = publish(database, waits(key="e-1"))
    run_id = ours.run("w")
    signal(ours, run_id, "signed", 1)
    ends(ours, run_id, "success")


def test_a_signal_that_never_comes(database: Database) -> None:
    clock = Clock()
    ours = publish(database, waits(key="k", expires="14d", retry={"max_attempts": 3}), clock=clock)
    run_id = ours.run("w")
    clock.now += 14 * DAY
    signal_key(ours, "signed", "k", "too late")
    assert ours.statuses(run_id) == {"wait": "waiting"}
    swept(ours)
    assert ours.row(run_id).error["code"] == "EXPIRED"
    assert [row.data for row in kept(ours)] == ["too late"]
    ends(ours, run_id, "failed")


def test_a_signal_whose_process_died_is_carried_on_by_the_sweep(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    ours = publish(database, waits(expires="1h"), clock=clock)
    run_id = ours.run("w")
    monkeypatch.setattr(signals, "_settle", lambda *_: ())
    signal(ours, run_id, "signed", 1)
    clock.now += 3_700  # taken in time, whenever it is settled
    swept(ours)
    assert output(ours, run_id, "wait") == 1
    ends(ours, run_id, "success")


def test_signals_are_taken_while_the_run_is_paused(database: Database) -> None:
    ours = publish(database, waits(), probe("after"), edges=["wait >> after"])
    run_id = ours.run("w")
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    signal(ours, run_id, "signed", 1)
    assert ours.statuses(run_id) == {"wait": "success", "after": "queued"}
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    ends(ours, run_id, "success")


@pytest.mark.parametrize("fields", [{"signal": ""}, {"signal": 5}, {"key": ""}, {"key": [1]}, {"expires": "soon"}])
def test_what_turns_out_to_be_no_name_fails_the_step(database: Database, fields: dict[str, Any]) -> None:
    given = {name: f"{{{{inputs.{name}}}}}" for name in fields}
    ours = publish(database, waits(**given))
    run_id = ended(ours, "failed", inputs=fields)
    assert ours.row(run_id).error["code"] == "VALIDATION"


def test_keyed_signals_and_those_who_wait_meet_whoever_comes_first(database: Database) -> None:
    """Both at once, many times: every run gets one signal, no signal is left."""
    ours = publish(database, waits(key="{{inputs.key}}"))
    run_ids: list[str] = []
    count = 12

    def start() -> None:
        run_ids.extend(ours.start("w", inputs={"key": f"k{n}"}) for n in range(count))
        ours.drain()

    def send() -> None:
        for n in range(count):
            sent = Sent(signal="signed", data=n)
            ours.send(signals.to_key(ours.deps, ours.actor, f"k{n}", sent).effects)

    threads = [threading.Thread(target=each) for each in (start, send)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    fire(ours)
    assert kept(ours) == []
    for n, run_id in enumerate(run_ids):
        assert output(ours, run_id, "wait") == n
        ends(ours, run_id, "success")


def test_votes_and_signals_at_once_decide_once(database: Database) -> None:
    """Ten keys vote at the same moment, ten signals of one number come: one decision, one signal."""
    ours = publish(database, {"id": "ask", "type": "approval"}, waits())
    run_id = ours.run("w")
    approval_id = inbox(ours)[0]["id"]
    refused: list[Exception] = []

    def act(n: int) -> None:
        try:
            vote(ours, approval_id, Verdict.APPROVED, by=f"v{n}")
        except ConflictError as error:
            refused.append(error)
        try:
            signal(ours, run_id, "signed", n, number="n")
        except ConflictError as error:  # pragma: no cover - another thread has ended the run
            refused.append(error)

    threads = [threading.Thread(target=act, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 9
    told = attempts.told(ours, run_id)
    assert (told.count("approval.decided"), told.count("signal.received")) == (1, 1)
    ends(ours, run_id, "success")
