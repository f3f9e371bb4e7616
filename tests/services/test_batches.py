"""Cheap steps are claimed, done and completed many at a time, and nothing that is promised is different for it."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from models.base import dump_json
from models.database import Database
from models.moves import Transition
from models.queries import transitions
from models.queries.prepared import Prepared
from models.states import RUN_TERMINAL
from orchestrator.core.effects import Message
from orchestrator.services import runs, sweeps
from orchestrator.services.batching import Known
from orchestrator.services.leases import LeaseKeeper
from orchestrator.services.performing import Performed
from orchestrator.services.steps import Carrier
from orchestrator.settings import Settings
from tests.services.test_races import at_once
from tests.support import attempts, engine, shuffled
from tests.support.engine import Engine
from tests.support.polling import poll
from tests.support.probes import probe
from tests.support.reference import Reference
from tests.support.soundness import assert_run_sound

LAYERS, WIDTH = 4, 10


def lattice(layers: int = LAYERS, width: int = WIDTH, **fields: Any) -> dict[str, Any]:
    """Layers of probes, each after three of the layer before."""
    edges = [
        {"from": f"n{layer - 1}_{(place + by) % width}", "to": f"n{layer}_{place}", "handle": "source"}
        for layer in range(1, layers)
        for place in range(width)
        for by in range(3)
    ]
    nodes = [probe(f"n{layer}_{place}", **fields) for layer in range(layers) for place in range(width)]
    return {"name": "w", "nodes": nodes, "edges": edges}


def begun(database: Database, definition: dict[str, Any], *, cheap: bool = True, **fields: Any) -> tuple[Engine, str]:
    """An engine in which every type is cheap, and a run of the definition that nobody has carried yet."""
    ours = engine.make(database, **fields)
    ours.paces.all_cheap = cheap
    ours.publish(definition)
    return ours, ours.start("w")


def waiting(ours: Engine) -> list[Message]:
    """Take all messages that wait."""
    found = [message for message, _ in ours.inbox]
    ours.inbox.clear()
    return found


def rounds(monkeypatch: pytest.MonkeyPatch) -> list[Transition]:
    """The transitions that follow, as they are applied."""
    seen: list[Transition] = []
    apply = transitions.apply

    def noted(session: Any, transition: Transition) -> Any:
        seen.append(transition)
        return apply(session, transition)

    monkeypatch.setattr(transitions, "apply", noted)
    return seen


def ends(ours: Engine, run_id: str, status: str = "success") -> None:
    ours.drain()
    assert ours.row(run_id).status == status, ours.statuses(run_id)
    assert_run_sound(ours.deps, run_id)


def started(ours: Engine, run_id: str) -> list[str]:
    return [str(e.step) for e in attempts.events(ours, run_id) if e.type == "step.started"]


def test_a_layer_takes_one_statement(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, run_id = begun(database, lattice())
    seen = rounds(monkeypatch)
    ours.carrier.carry_all(waiting(ours))
    assert len(seen[0].moves) == WIDTH, "one claim"
    assert len(seen[1].moves) == WIDTH, "one completion, which claims the next layer"
    assert len(seen) <= 2 * LAYERS
    assert sorted(started(ours, run_id)) == sorted(ours.statuses(run_id)), "each once"
    assert not ours.inbox
    ends(ours, run_id)


def test_what_it_comes_to_is_what_single_steps_come_to(database: Database) -> None:
    definition = lattice(does={"succeed": {"a": 1}}, input_mapping={"given": "{{run.id}}"})
    outputs: list[list[Any]] = []
    for cheap in (True, False):
        ours, run_id = begun(database, definition, cheap=cheap)
        looks = waiting(ours)
        if cheap:
            ours.carrier.carry_all(looks)
        else:
            for look in looks:
                ours.carrier.carry(look)
        ends(ours, run_id)
        outputs.append([row[:-1] for row in attempts_of(ours, run_id)])
        told = [(e.type, e.step, e.data) for e in attempts.events(ours, run_id) if e.type == "step.completed"]
        outputs.append(sorted(told, key=str))
    assert outputs[:2] == outputs[2:]


def attempts_of(ours: Engine, run_id: str) -> list[Any]:
    columns = "no, number, status, output, worker, resolved"
    statement = f"SELECT {columns} FROM attempt WHERE run_id = :run ORDER BY no, number"
    with ours.deps.db.read() as session:
        return [tuple(row) for row in session.execute(text(statement), {"run": run_id})]


@pytest.mark.parametrize("seed", range(25))
def test_random_layers_end_as_the_rules_say(database: Database, seed: int) -> None:
    """Batches of any size, some twice, steps that fail, retry, choose routes, or are skipped."""
    random = Random(seed)
    definition = lattice(random.randint(2, 5), random.randint(3, 8)) | {"on_failure": "continue"}
    for node in definition["nodes"]:
        if random.random() < 0.15:
            node["does"] = random.choice(({"fail": "TOOL_FAILED"}, {"succeed": {}, "terminal": True}))
        if random.random() < 0.1:
            node["when"] = random.choice(("true", "false"))
        if random.random() < 0.1:
            node["join"] = "any"
        if random.random() < 0.1:
            node["type"] = "slow_probe"
    reference = Reference(definition).complete_all()
    for node in definition["nodes"]:
        if node["does"] == {} and random.random() < 0.1:
            node |= {"does": [{"fail": "NETWORK"}, {}], "retry": {"max_attempts": 2, "initial": "1ms"}}
    ours, run_id = begun(database, definition)
    shuffled.drive(ours, random)
    assert ours.row(run_id).status in RUN_TERMINAL
    if not any(node.get("join") for node in definition["nodes"]):
        assert ours.statuses(run_id) == reference.statuses
    assert_run_sound(ours.deps, run_id)


def test_one_that_fails_holds_none_of_the_others_up(database: Database) -> None:
    definition = lattice(2, 6) | {"on_failure": "continue"}
    definition["nodes"][0]["does"] = {"fail": "TOOL_FAILED"}
    definition["nodes"][1]["does"] = {"raise": "broken"}
    ours, run_id = begun(database, definition)
    ours.carrier.carry_all(waiting(ours))
    statuses = ours.statuses(run_id)
    assert [statuses[f"n0_{n}"] for n in range(6)] == ["failed", "failed", *["success"] * 4]
    ends(ours, run_id, "failed")


def test_one_whose_race_is_lost_is_fenced_alone(database: Database) -> None:
    ours, run_id = begun(database, lattice(2, 6))
    claimed, _ = ours.carrier._claim_all(waiting(ours))
    attempts.lose(ours, claimed[2])
    done = [(each, ours.carrier.perform(each)) for each in claimed]
    following = ours.carrier.finish(done, Known(), in_chord=False, room=64, empty=True)
    statuses = ours.statuses(run_id)
    assert [statuses[f"n0_{n}"] for n in range(6)] == [*["success"] * 2, "queued", *["success"] * 3]
    assert sorted(each.path for each in following) == ["n1_3", "n1_4", "n1_5"][: len(following)]
    for each in following:
        ours.carrier.complete(each, ours.carrier.perform(each))
    ends(ours, run_id)


def test_what_the_database_will_not_have_fails_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, run_id = begun(database, lattice(1, 6) | {"on_failure": "continue"})
    claimed, _ = ours.carrier._claim_all(waiting(ours))
    done = [(each, ours.carrier.perform(each)) for each in claimed]
    broken = done[3][1]
    assert isinstance(broken, Performed)
    done[3] = (done[3][0], replace(broken, output=object()))  # type: ignore[arg-type]
    ours.carrier.finish(done, Known(), in_chord=False, room=0, empty=True)
    statuses = ours.statuses(run_id)
    assert [statuses[f"n0_{n}"] for n in range(6)] == [*["success"] * 3, "failed", *["success"] * 2]
    ends(ours, run_id, "failed")


@pytest.mark.parametrize(("act", "ended"), [(runs.pause, "success"), (runs.abort, "aborted")])
def test_a_run_that_is_stopped_meanwhile_starts_nothing(
    database: Database, act: Callable[..., Any], ended: str
) -> None:
    ours, run_id = begun(database, lattice(2, 6))
    claimed, _ = ours.carrier._claim_all(waiting(ours))
    ours.send(act(ours.deps, ours.actor, run_id, "a test"))
    done = [(each, ours.carrier.perform(each)) for each in claimed]
    following = ours.carrier.finish(done, Known(), in_chord=False, room=64, empty=True)
    assert following == []
    statuses = ours.statuses(run_id)
    assert {statuses[f"n0_{n}"] for n in range(6)} == {ended}
    assert {statuses[f"n1_{n}"] for n in range(6)} == {"queued" if ended == "success" else "skipped"}
    assert sorted(started(ours, run_id)) == [f"n0_{n}" for n in range(6)]
    assert_run_sound(ours.deps, run_id)


def test_a_target_with_an_override_is_queued(database: Database) -> None:
    ours, run_id = begun(database, lattice(2, 6))
    with ours.deps.db.transaction() as session:
        override = {"timeout": 7.0}
        session.execute(
            text("UPDATE step SET override = :own WHERE run_id = :run AND path = 'n1_0'"),
            {"own": dump_json(override), "run": run_id},
        )
    ours.carrier.carry_all(waiting(ours))
    assert [message.path for message, _ in ours.inbox] == ["n1_0"]
    ends(ours, run_id)


def test_steps_that_wait_behind_a_slow_one_are_given_back(database: Database) -> None:
    definition = lattice(1, 6)
    definition["nodes"][1]["does"] = {"sleep": 0.05}
    ours, run_id = begun(database, definition)
    hasty = Carrier(
        deps=ours.deps, send=ours.send, keeper=ours.carrier.keeper, continue_seconds=0.02, flush_seconds=0.0
    )
    hasty.carry_all(waiting(ours))
    assert [message.path for message, _ in ours.inbox] == ["n0_2", "n0_3", "n0_4"]
    assert ours.statuses(run_id)["n0_5"] == "success", "nothing waits behind the last"
    ends(ours, run_id)


def test_a_batch_that_comes_twice_at_once_is_done_once(database: Database) -> None:
    ours, run_id = begun(database, lattice())
    looks = waiting(ours)
    keeper = LeaseKeeper(db=ours.deps.db, seconds=10.0)
    carriers = [Carrier(deps=ours.deps, send=ours.send, keeper=keeper) for _ in range(3)]
    assert at_once([partial(carrier.carry_all, looks) for carrier in carriers]) == []
    keeper.close()
    ours.drain()
    told = started(ours, run_id)
    assert len(told) == len(set(told)) == LAYERS * WIDTH
    ends(ours, run_id)


def test_steps_of_a_budget_go_one_by_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, run_id = begun(database, lattice(2, 4, estimated_cost_cents=1) | {"budget": {"limit_cents": 100}})
    seen = rounds(monkeypatch)
    ours.carrier.carry_all(waiting(ours))
    assert max(len(each.moves) for each in seen) == 1
    ends(ours, run_id)


def test_gated_steps_are_not_taken_along(database: Database) -> None:
    definition = lattice(2, 4)
    definition["nodes"][5]["rate"] = {"key": "k", "limit": 1, "per": "1h"}
    definition["nodes"][6]["heartbeat"] = "30s"
    ours, run_id = begun(database, definition)
    ours.carrier.carry_all(waiting(ours))
    assert sorted(message.path for message, _ in ours.inbox) == ["n1_1", "n1_2"]
    ends(ours, run_id)


def test_the_worker_goes_on_with_exactly_one_that_is_not_known_to_be_cheap(database: Database) -> None:
    definition = {
        "name": "w",
        "nodes": [probe("a"), *(probe(f"b{n}") for n in range(5))],
        "edges": [{"from": "a", "to": f"b{n}"} for n in range(5)],
    }
    ours, run_id = begun(database, definition, cheap=False)
    ours.carrier.carry(waiting(ours)[0])
    assert sorted(message.path for message, _ in ours.inbox) == ["b1", "b2", "b3", "b4"]
    assert ours.statuses(run_id)["b0"] == "success"
    ends(ours, run_id)
    told = [(e.type, e.step) for e in attempts.events(ours, run_id) if e.step == "b0"]
    assert told == [("step.started", "b0"), ("step.completed", "b0")], "claimed by the statement that made it ready"


@pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_what_is_at_hand_is_not_read_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, run_id = begun(database, lattice())
    executed: list[str] = []
    rows = Prepared.rows

    def noted(self: Prepared, session: Any, parameters: Any) -> Any:
        executed.append(self.name)
        return rows(self, session, parameters)

    monkeypatch.setattr(Prepared, "rows", noted)
    ours.carrier.carry_all(waiting(ours))
    assert executed.count("claim") == 1
    assert executed.count("completion") >= LAYERS
    assert "stored" not in executed
    ends(ours, run_id)


def test_leases_of_steps_at_hand_are_not_renewed_before_their_turn(database: Database) -> None:
    """Steps that wait behind one that hangs are taken back by the sweep, as any whose worker is lost."""
    definition = lattice(1, 3)
    definition["nodes"][0]["does"] = [{"sleep": 6.0}]
    ours, run_id = begun(database, definition, settings=Settings(lease_seconds=2.0, sweep_seconds=0.1))
    keeper = LeaseKeeper(db=ours.deps.db, seconds=2.0)
    slow = Carrier(deps=ours.deps, send=lambda _: None, keeper=keeper)
    thread = threading.Thread(target=slow.carry_all, args=(waiting(ours),))
    thread.start()

    def taken_back() -> bool:
        attempts.in_contact(ours)
        ours.send(sweeps.run(ours.deps, "leases").effects)
        statuses = ours.statuses(run_id)
        return [statuses[f"n0_{n}"] for n in range(3)] == ["running", "queued", "queued"]

    poll(taken_back, what="the steps that wait to be taken back")
    thread.join()
    keeper.close()
    assert ours.statuses(run_id)["n0_0"] == "success"
    ends(ours, run_id)
    lost = [no for no, _, status, *_ in attempts_of(ours, run_id) if status in ("lost", "fenced")]
    assert lost == [1, 2], "and the first, whose lease was renewed, is not among them"
