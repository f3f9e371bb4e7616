"""Approvals: asked, voted on, decided once, too late, and what their steps make of it."""

from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError, InvalidError, NotFoundError
from models.queries import approvals as queries
from orchestrator.core.people import Verdict
from orchestrator.services import approvals, runs
from orchestrator.services.idempotency import Once
from orchestrator.services.people import is_over
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.office import DAY, fire, inbox, key, swept, vote
from tests.support.probes import Clock, ended, ends, probe, publish

APPROVED, REJECTED = Verdict.APPROVED, Verdict.REJECTED
FORM = {
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "integer"}},
    "additionalProperties": False,
}


def asks(node_id: str = "ask", **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "approval", "title": f"{node_id} it", **fields}


def parked(database: Database, *, clock: Clock | None = None, **fields: Any) -> tuple[Engine, str, str]:
    """A run that waits for an approval, then goes on to `after`; the approval's id."""
    ours = publish(database, asks(**fields), probe("after"), edges=["ask >> after"], clock=clock)
    run_id = ours.run("w")
    return ours, run_id, inbox(ours)[0]["id"]


def told(ours: Engine, run_id: str) -> list[str]:
    return [kind for kind in attempts.told(ours, run_id) if kind.startswith("approval.")]


def test_what_is_asked_for_lies_in_the_inbox(database: Database) -> None:
    ours, run_id, approval_id = parked(database, form=FORM, assignees=["ada", "bob"], required=2)
    (found,) = inbox(ours)
    assert (found["run_id"], found["step"], found["title"]) == (run_id, "ask", "ask it")
    assert (found["form"], found["assignees"], found["required"]) == (FORM, ["ada", "bob"], 2)
    assert (found["status"], found["decision"], found["votes"]) == ("pending", None, [])
    assert [row["id"] for row in inbox(ours, assignee="bob", run=run_id)] == [approval_id]
    assert inbox(ours, assignee="eve") == inbox(ours, status="approved") == []
    assert ours.statuses(run_id) == {"ask": "waiting", "after": "pending"}
    assert attempts.step(ours, run_id, "ask").waiting_for == f"approval {approval_id}: ask it"
    assert told(ours, run_id) == ["approval.requested"]


def test_an_approval_gives_its_data_and_who_decided(database: Database) -> None:
    ours, run_id, approval_id = parked(database, form=FORM)
    answer = vote(ours, approval_id, comment="fine", data={"amount": 7})
    assert (answer["status"], answer["decision"]) == ("approved", "approved")
    assert answer["votes"][0] | {"at": ""} == {
        "by": "ada",
        "decision": "approved",
        "comment": "fine",
        "data": {"amount": 7},
        "at": "",
    }
    (attempt,) = attempts.attempts(ours, run_id, "ask")
    assert attempt.output == {"decision": "approved", "data": {"amount": 7}, "by": ["ada"]}
    assert inbox(ours) == []
    assert told(ours, run_id) == ["approval.requested", "approval.decided"]
    ends(ours, run_id, "success")


def test_a_rejection_is_a_failure_that_is_not_retried(database: Database) -> None:
    ours, run_id, approval_id = parked(database, retry={"max_attempts": 3})
    vote(ours, approval_id, REJECTED, comment="too dear")
    error = ours.row(run_id).error
    assert (error["code"], error["step"]) == ("REJECTED", "ask")
    assert "rejected by ada: too dear" in error["message"]
    assert error["details"]["by"] == ["ada"]
    assert len(attempts.attempts(ours, run_id, "ask")) == 1
    ends(ours, run_id, "failed")


def test_an_error_edge_takes_a_rejection(database: Database) -> None:
    after = probe("undo", {"succeed": {"undone": True}}, input_mapping={"why": "{{ask.error.code}}"})
    edges = [{"from": "ask", "to": "undo", "handle": "error"}, {"from": "ask", "to": "go"}]
    ours = publish(database, asks(), probe("go"), after, edges=edges)
    run_id = ours.run("w")
    vote(ours, inbox(ours)[0]["id"], REJECTED)
    assert ours.statuses(run_id) == {"ask": "failed", "go": "skipped", "undo": "success"}
    ends(ours, run_id, "success")


def test_n_of_m_wants_votes_of_n_keys(database: Database) -> None:
    ours, run_id, approval_id = parked(database, required=2, assignees=["ada", "bob", "cyd"])
    vote(ours, approval_id, data={"a": 1, "both": "ada"})
    assert ours.statuses(run_id)["ask"] == "waiting"
    with pytest.raises(ConflictError, match="one vote a key"):
        vote(ours, approval_id)
    vote(ours, approval_id, by="bob", data={"b": 2, "both": "bob"})
    (attempt,) = attempts.attempts(ours, run_id, "ask")
    data = {"a": 1, "b": 2, "both": "bob"}
    assert attempt.output == {"decision": "approved", "data": data, "by": ["ada", "bob"]}
    assert told(ours, run_id) == ["approval.requested", "approval.voted", "approval.decided"]
    ends(ours, run_id, "success")


def test_one_vote_against_it_is_enough(database: Database) -> None:
    ours, run_id, approval_id = parked(database, required=3)
    vote(ours, approval_id, by="ada")
    vote(ours, approval_id, REJECTED, by="bob")
    with pytest.raises(ConflictError, match="is rejected already"):
        vote(ours, approval_id, by="cyd")
    ends(ours, run_id, "failed")


def test_two_at_once_are_answered_in_any_order_and_twice(database: Database) -> None:
    nodes = (asks("one"), asks("two"), {"id": "join", "type": "noop"})
    ours = publish(database, *nodes, edges=["[one, two] >> join"])
    run_id = ours.run("w")
    by_step = {row["step"]: row["id"] for row in inbox(ours)}
    vote(ours, by_step["two"], data={"n": 2})
    for _ in range(2):
        with pytest.raises(ConflictError):
            vote(ours, by_step["two"], data={"n": 3})
    assert ours.statuses(run_id) == {"one": "waiting", "two": "success", "join": "pending"}
    vote(ours, by_step["one"], by="bob")
    with pytest.raises(ConflictError):
        vote(ours, by_step["one"], REJECTED, by="eve")
    (attempt,) = attempts.attempts(ours, run_id, "two")
    assert attempt.output["data"] == {"n": 2}
    ends(ours, run_id, "success")


@pytest.mark.parametrize("data", [None, {}, {"amount": "7"}, {"amount": 7, "more": 1}, 7])
def test_what_the_form_refuses_decides_nothing(database: Database, data: Any) -> None:
    ours, run_id, approval_id = parked(database, form=FORM)
    with pytest.raises(InvalidError) as refused:
        vote(ours, approval_id, data=data)
    assert all(problem.pointer.startswith("/data") for problem in refused.value.problems)
    assert ours.statuses(run_id)["ask"] == "waiting"
    vote(ours, approval_id, data={"amount": 7})
    ends(ours, run_id, "success")


def test_a_rejection_needs_no_data_but_takes_none_that_is_wrong(database: Database) -> None:
    ours, run_id, approval_id = parked(database, form=FORM)
    with pytest.raises(InvalidError):
        vote(ours, approval_id, REJECTED, data={"amount": "x"})
    vote(ours, approval_id, REJECTED)
    ends(ours, run_id, "failed")


@pytest.mark.parametrize(
    ("on_expiry", "status", "decision"),
    [(None, "expired", "rejected"), ("reject", "expired", "rejected"), ("fail", "expired", None)],
)
def test_nobody_decides_in_time(
    database: Database, on_expiry: str | None, status: str, decision: str | None
) -> None:
    clock = Clock()
    more = {} if on_expiry is None else {"on_expiry": on_expiry}
    ours, run_id, approval_id = parked(database, clock=clock, expires="14d", **more)
    clock.now += 14 * DAY - 1
    swept(ours)
    assert ours.statuses(run_id)["ask"] == "waiting"
    clock.now += 1
    with pytest.raises(ConflictError, match="has expired"):
        vote(ours, approval_id)
    clock.now += 60
    swept(ours)
    (found,) = inbox(ours, status="expired")
    assert (found["status"], found["decision"], found["votes"]) == (status, decision, [])
    assert ours.row(run_id).error["code"] == "EXPIRED"
    with pytest.raises(ConflictError):
        vote(ours, approval_id)
    assert told(ours, run_id) == ["approval.requested", "approval.decided"]
    ends(ours, run_id, "failed")


def test_time_may_approve(database: Database) -> None:
    clock = Clock()
    ours, run_id, approval_id = parked(database, clock=clock, expires="1h", on_expiry="approve", required=2)
    vote(ours, approval_id, data={"n": 1})
    clock.now += 3_700
    swept(ours)
    (attempt,) = attempts.attempts(ours, run_id, "ask")
    assert attempt.output == {"decision": "approved", "data": {"n": 1}, "by": ["ada"]}
    ends(ours, run_id, "success")


def test_an_approval_is_closed_with_its_run(database: Database) -> None:
    ours, run_id, approval_id = parked(database)
    runs.abort(ours.deps, ours.actor, run_id, "enough")
    assert inbox(ours) == []
    assert [row["id"] for row in inbox(ours, status="closed")] == [approval_id]
    with pytest.raises(ConflictError, match="is closed"):
        vote(ours, approval_id)
    ends(ours, run_id, "aborted")


def test_an_approval_is_taken_while_the_run_is_paused(database: Database) -> None:
    ours, run_id, approval_id = parked(database)
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    vote(ours, approval_id)
    assert ours.statuses(run_id) == {"ask": "success", "after": "queued"}
    ours.send(runs.resume(ours.deps, ours.actor, run_id))
    ends(ours, run_id, "success")


def test_expiries_run_on_while_the_run_is_paused(database: Database) -> None:
    clock = Clock()
    ours, run_id, _ = parked(database, clock=clock, expires="1h")
    runs.pause(ours.deps, ours.actor, run_id, "lunch")
    clock.now += 3_700
    swept(ours)
    assert ours.statuses(run_id)["ask"] == "failed"
    ends(ours, run_id, "failed")


def test_a_decision_whose_process_died_is_carried_on_by_the_sweep(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, run_id, approval_id = parked(database)
    monkeypatch.setattr(approvals, "_settle", lambda *_: ())
    vote(ours, approval_id)
    assert ours.statuses(run_id)["ask"] == "waiting"
    swept(ours)
    ends(ours, run_id, "success")


def test_a_timeout_asks_again_and_the_first_approval_is_closed(database: Database) -> None:
    ours, run_id, first = parked(database, timeout="1h", retry={"max_attempts": 2, "initial": "1ms"})
    attempts.outrun(ours, run_id, "ask")
    fire(ours)
    (second,) = inbox(ours)
    assert second["id"] != first
    assert second["attempt"] == 2
    with pytest.raises(ConflictError, match="is closed"):
        vote(ours, first)
    vote(ours, second["id"])
    ends(ours, run_id, "success")


def test_approvals_in_branches_are_told_apart_by_their_paths(database: Database) -> None:
    body = {"nodes": [asks("sign", title="for {{item}}", assignees=["{{item}}"])]}
    ours = publish(database, {"id": "each", "type": "parallel", "items": ["ada", "bob"], "body": body})
    run_id = ours.run("w")
    found = {row["step"]: row for row in inbox(ours)}
    assert {path: row["title"] for path, row in found.items()} == {
        "each[0]/sign": "for ada",
        "each[1]/sign": "for bob",
    }
    assert [row["step"] for row in inbox(ours, assignee="bob")] == ["each[1]/sign"]
    for path in ("each[1]/sign", "each[0]/sign"):
        vote(ours, found[path]["id"])
    ends(ours, run_id, "success")


def test_another_workspace_sees_and_decides_nothing(database: Database) -> None:
    ours, run_id, approval_id = parked(database)
    other = publish(database, asks())
    with pytest.raises(NotFoundError):
        vote(other, approval_id)
    assert inbox(other) == []
    with pytest.raises(NotFoundError):
        vote(ours, "no-id")
    vote(ours, approval_id)
    ends(ours, run_id, "success")


def test_the_same_call_again_gets_the_same_answer(database: Database) -> None:
    ours, run_id, approval_id = parked(database)

    def again() -> Once:
        return Once(workspace_id=ours.actor.workspace_id, key="k", digest="d", status=200)

    first = approvals.vote(ours.deps, key(ours, "ada"), approval_id, APPROVED, once=again())
    second = approvals.vote(ours.deps, key(ours, "ada"), approval_id, APPROVED, once=again())
    assert (second.answer, second.effects) == (first.answer, ())
    ours.send(first.effects)
    ends(ours, run_id, "success")


@pytest.mark.parametrize("assignees", [["ada", "ada"], [""], "ada", [1]])
def test_assignees_that_turn_out_to_be_no_names_fail_the_step(database: Database, assignees: Any) -> None:
    ours = publish(database, asks(assignees="{{inputs.who}}"))
    run_id = ended(ours, "failed", inputs={"who": assignees})
    assert ours.row(run_id).error["code"] == "VALIDATION"


def test_a_vote_costs_nothing(database: Database) -> None:
    ours = publish(database, asks(estimated_cost_cents=5), budget={"limit_cents": 5})
    run_id = ours.run("w")
    vote(ours, inbox(ours)[0]["id"])
    ends(ours, run_id, "success")
    assert ours.row(run_id).cost_microcents == 0


def test_an_approval_without_a_time_never_ends(database: Database) -> None:
    clock = Clock()
    ours, run_id, approval_id = parked(database, clock=clock)
    clock.now += 1_000 * DAY
    with ours.deps.db.read() as session:
        found = queries.find(session, None, approval_id)
    assert found is not None
    assert not is_over(found, clock.now)
    swept(ours)
    vote(ours, approval_id)
    ends(ours, run_id, "success")
