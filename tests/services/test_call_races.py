"""Called runs and what is told about them, by threads at the same moment, on PostgreSQL."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.services import relays, runs
from tests.services.test_races import at_once
from tests.support.calls import call, called, everything, made, sound
from tests.support.engine import Engine
from tests.support.probes import probe

pytestmark = pytest.mark.timeout(120)
ON_POSTGRESQL = pytest.mark.parametrize(
    "database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)]
)
TIMES = 40
BELOW: dict[str, Any] = {"name": "below", "nodes": [probe("w", {"wait": "for ever"})]}
ABOVE: dict[str, Any] = {"name": "above", "nodes": [call("it", "below")]}
QUICK: dict[str, Any] = {"name": "quick", "nodes": [{"id": "x", "type": "noop"}]}


def parked(ours: Engine, name: str = "above") -> str:
    """A run whose step is parked, and what it calls not yet created."""
    run_id = ours.start(name)
    message, in_chord = ours.inbox.pop(0)
    ours.carrier.carry(message, in_chord=in_chord)
    assert len(ours.relays) == 1
    return run_id


def passing(ours: Engine, outbox_id: int) -> Any:
    return lambda: ours.send(relays.carry_out(ours.deps, outbox_id))


@ON_POSTGRESQL
def test_an_entry_that_comes_twice_at_once_creates_one_run(database: Database) -> None:
    ours = made(database, QUICK, {**ABOVE, "nodes": [call("it", "quick")]})
    for _ in range(TIMES):
        run_id = parked(ours)
        entry = ours.relays.pop().outbox_id
        assert at_once([passing(ours, entry) for _ in range(3)]) == []
        assert len(called(ours, run_id)) == 1
        ended = ours.relays.pop().outbox_id
        assert at_once([passing(ours, ended) for _ in range(3)]) == []
        assert (ours.row(run_id).status, ours.relays) == ("success", [])
    sound(ours)


@ON_POSTGRESQL
@pytest.mark.parametrize("acts", ["abort", "pause", "pause and resume"])
def test_control_while_the_run_is_being_created(database: Database, acts: str) -> None:
    ours = made(database, BELOW, ABOVE)

    def control(run_id: str) -> None:
        for act in acts.split(" and "):
            if act == "resume":
                ours.send(runs.resume(ours.deps, ours.actor, run_id))
            else:
                ours.send(getattr(runs, act)(ours.deps, ours.actor, run_id, "race"))
            while ours.relays:
                ours.relay(ours.relays.pop(0))

    expected = {"abort": "aborted", "pause": "paused", "pause and resume": "running"}[acts]
    for _ in range(TIMES):
        run_id = parked(ours)
        entry = ours.relays.pop().outbox_id
        assert at_once([passing(ours, entry), lambda run_id=run_id: control(run_id)]) == []
        ours.drain()
        assert {run.status for run in (ours.row(run_id), *called(ours, run_id))} == {expected}
    assert len(everything(ours)) > TIMES or acts == "abort"
    sound(ours)


@ON_POSTGRESQL
def test_a_budget_that_many_runs_draw_on_at_once_is_not_overshot(database: Database) -> None:
    usage = {"cost_microcents": 3_000_000}
    leaf = {"name": "leaf", "nodes": [probe("x", {"succeed": 1, "usage": usage}, estimated_cost_cents=3)]}
    above = {"name": "above", "nodes": [call(f"c{no}", "leaf") for no in range(6)]}
    ours = made(database, leaf, {**above, "budget": {"limit_cents": 10}})
    run_id = ours.start("above")
    while not ours.inbox or any(message.path != "x" for message, _ in ours.inbox) or ours.relays:
        if ours.relays:
            ours.relay(ours.relays.pop(0))
        else:
            place = next(at for at, (message, _) in enumerate(ours.inbox) if message.path != "x")
            message, in_chord = ours.inbox.pop(place)
            ours.carrier.carry(message, in_chord=in_chord)
    messages = [message for message, _ in ours.inbox]
    ours.inbox.clear()
    raised = at_once([lambda message=message: ours.carrier.carry(message) for message in messages])
    assert (len(messages), raised) == (6, [])
    ours.drain()
    run = ours.row(run_id)
    assert (run.status, run.cost_microcents) == ("aborted", 9_000_000)
    sound(ours)
