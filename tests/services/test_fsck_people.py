"""Invariant 18, broken on purpose: votes, decisions and signals that do not fit what steps have done."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.services import approvals, fsck
from tests.support.attempts import long_ago
from tests.support.engine import Engine
from tests.support.histories import append, execute
from tests.support.office import inbox, signal, vote
from tests.support.probes import publish

NODES = (
    {"id": "ask", "type": "approval", "expires": "7d"},
    {"id": "wait", "type": "signal", "signal": "signed", "expires": "7d"},
)


@pytest.fixture
def ours(database: Database) -> Engine:
    return publish(database, *NODES)


def answered(ours: Engine) -> str:
    run_id = ours.run("w")
    vote(ours, inbox(ours)[0]["id"])
    signal(ours, run_id, "signed")
    return run_id


def broken(ours: Engine, run_id: str) -> set[tuple[int, str | None]]:
    return {(violation.invariant, violation.step) for violation in fsck.check(ours.deps, run_id)}


@pytest.mark.parametrize(
    ("statement", "step"),
    [
        ("UPDATE approval SET decision = 'rejected' WHERE run_id = :run", "ask"),
        ("UPDATE approval SET decided_at = NULL, decision = NULL WHERE run_id = :run", "ask"),
        ("UPDATE approval SET required = 2 WHERE run_id = :run", "ask"),
        ("UPDATE approval SET expires_at = :at WHERE run_id = :run", "ask"),
        ("UPDATE approval SET attempt = 7 WHERE run_id = :run", "ask"),
        ("DELETE FROM approval_vote", "ask"),
        ("UPDATE signal SET taken_attempt = 7 WHERE taken_run_id = :run", "wait"),
        ("UPDATE awaited_signal SET expired = :yes WHERE run_id = :run", "wait"),
    ],
)
def test_each_disagreement_is_named(ours: Engine, statement: str, step: str) -> None:
    run_id = answered(ours)
    assert broken(ours, run_id) == set()
    given: dict[str, Any] = {"run": run_id, "at": long_ago(ours), "yes": True}
    execute(ours, statement, **{name: value for name, value in given.items() if f":{name}" in statement})
    assert (18, step) in broken(ours, run_id)


@pytest.mark.parametrize("kind", ["approval.requested", "approval.decided", "approval.voted"])
def test_a_second_telling_is_named(ours: Engine, kind: str) -> None:
    run_id = ours.run("w")
    approval = inbox(ours)[0]["id"]
    vote(ours, approval)
    append(ours, run_id, kind, step="ask", approval=approval, decision="approved")
    assert (18, "ask") in broken(ours, run_id)


def test_an_answer_that_nothing_is_due_for_is_named(ours: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = ours.run("w")
    monkeypatch.setattr(approvals, "_settle", lambda *_: ())
    vote(ours, inbox(ours)[0]["id"])
    assert broken(ours, run_id) == set()
    execute(ours, "UPDATE step SET due_at = NULL WHERE run_id = :run", run=run_id)
    assert (18, "ask") in broken(ours, run_id)
