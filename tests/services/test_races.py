"""Threads of different processes at one run, on PostgreSQL: the lock on its row makes one of them the last."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from models.database import Database
from models.queries import completions_postgresql, transitions_postgresql
from models.queries.prepared import Prepared
from models.run import Budget
from models.states import RunStatus
from models.step import Attempt
from orchestrator.services.steps import Carrier
from tests.support import engine
from tests.support.engine import Engine, NoLeases
from tests.support.soundness import assert_run_sound

PAIR: dict[str, Any] = {
    "name": "pair",
    "nodes": [{"id": "a", "type": "probe"}, {"id": "b", "type": "probe"}],
    "edges": [],
}


def process(ours: Engine) -> Carrier:
    """A carrier as another process has it: no turns are taken with this one's threads."""
    return Carrier(deps=ours.deps, send=ours.send, keeper=NoLeases(db=ours.deps.db, seconds=10.0))


def at_once(acts: Sequence[Callable[[], object]]) -> list[BaseException]:
    """Do all of them at the same moment; what they raised."""
    start, raised = threading.Barrier(len(acts)), []

    def run(act: Callable[[], object]) -> None:
        start.wait()
        try:
            act()
        except DBAPIError as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def last_two(ours: Engine, one: Carrier, other: Carrier) -> tuple[str, list[BaseException]]:
    """A run whose two steps complete at the same moment; its id, and what went wrong."""
    run_id = ours.start("pair")
    completions = []
    for carrier in (one, other):
        claimed = carrier._claim(ours.inbox.pop()[0])
        assert claimed is not None
        done = carrier.perform(claimed)
        completions.append(
            lambda carrier=carrier, claimed=claimed, done=done: carrier.complete(
                claimed, done, in_chord=False, go_on=False
            )
        )
    return run_id, at_once(completions)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_the_last_two_completions_always_end_the_run(database: Database) -> None:
    ours = engine.make(database)
    ours.publish(PAIR)
    one, other = process(ours), process(ours)
    for _ in range(1_000):
        run_id, raised = last_two(ours, one, other)
        assert raised == []
        assert ours.row(run_id).status == RunStatus.SUCCESS
    assert_run_sound(ours.deps, run_id)


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_without_the_lock_on_the_run_they_do_not(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take the same number for their event, or count the same open steps."""
    for module, name in ((transitions_postgresql, "TRANSITION"), (completions_postgresql, "COMPLETION")):
        locked: Prepared = getattr(module, name)
        assert "FOR UPDATE" in locked.text
        unlocked = Prepared(f"unlocked_{locked.name}", locked.types, locked.text.replace("FOR UPDATE", ""))
        monkeypatch.setattr(module, name, unlocked)
    ours = engine.make(database)
    ours.publish(PAIR)
    one, other = process(ours), process(ours)

    def broken() -> bool:
        run_id, raised = last_two(ours, one, other)
        return bool(raised) or ours.row(run_id).status != RunStatus.SUCCESS

    assert any(broken() for _ in range(200))


def test_reservations_never_overshoot_together(database: Database) -> None:
    """30 of 40 cents are spent, and 40 steps of a cent each start at the same moment."""
    steps = [{"id": f"n{no}", "type": "probe", "estimated_cost_cents": 1} for no in range(40)]
    spent = {"succeed": {}, "usage": {"cost_microcents": 30_000_000}}
    ours = engine.make(database)
    ours.publish(
        {
            "name": "costly",
            "budget": {"limit_cents": 40, "on_exceeded": "abort"},
            "nodes": [{"id": "spends", "type": "probe", "does": spent}, *steps],
            "edges": [f"spends >> [{', '.join(step['id'] for step in steps)}]"],
        }
    )
    run_id = ours.start("costly")
    ours.carrier.carry(ours.inbox.pop()[0], in_chord=True)
    carriers = [process(ours) for _ in steps]
    claimed: list[Any] = []
    messages = [message for message, _ in ours.inbox]
    ours.inbox.clear()
    assert len(messages) == 40

    def claim(carrier: Carrier, message: Any) -> None:
        found = carrier._claim(message)
        if found is not None:
            claimed.append((carrier, found))

    raised = at_once([lambda c=c, m=m: claim(c, m) for c, m in zip(carriers, messages, strict=True)])
    assert raised == []
    assert 1 <= len(claimed) <= 10
    with database.read() as session:
        budget = session.get(Budget, run_id)
        running = select(func.count()).select_from(Attempt).where(Attempt.status == "running")
        assert budget is not None
        assert budget.spent_microcents + budget.reserved_microcents <= budget.limit_microcents
        assert session.execute(running).scalar_one() == len(claimed)
    for carrier, found in claimed:
        carrier.complete(found, carrier.perform(found), in_chord=False, go_on=False)
    assert ours.row(run_id).status == "aborted"
    with database.read() as session:
        budget = session.get(Budget, run_id)
        assert budget is not None
        assert budget.reserved_microcents == 0
    assert_run_sound(ours.deps, run_id)


def test_two_processes_at_one_message(database: Database) -> None:
    """A doubled message is worked on once."""
    ours = engine.make(database)
    ours.publish(PAIR)
    carriers = [process(ours) for _ in range(8)]
    run_id = ours.start("pair")
    for message, _ in list(ours.inbox):
        assert at_once([lambda c=carrier, m=message: c.carry(m) for carrier in carriers]) == []
    assert ours.row(run_id).status == RunStatus.SUCCESS
    assert_run_sound(ours.deps, run_id)
