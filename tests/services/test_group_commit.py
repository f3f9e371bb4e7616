"""What threads of one process want of a run at the same moment is written by one of them, for each what is its own."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from models.database import Database
from models.moves import Transition
from models.queries import transitions
from orchestrator.core.effects import Message
from orchestrator.services.claiming import Claimed
from orchestrator.services.completing import Completion
from orchestrator.services.performing import Performed
from orchestrator.services.turns import TOGETHER, Turns
from tests.services.test_batches import begun, ends, lattice, rounds, started, waiting
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.histories import execute
from tests.support.polling import poll
from tests.support.probes import probe

WIDTH = 6


def gathered(turns: Turns, run_id: str, acts: Sequence[Callable[[], object]]) -> list[Any]:
    """What acts of as many threads come to, all of which wait for the run's turn at the same moment."""
    came: list[Any] = [None] * len(acts)

    def run(place: int) -> None:
        try:
            came[place] = acts[place]()
        except Exception as error:
            came[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    with turns.of(run_id):
        for place, thread in enumerate(threads, 1):
            thread.start()
            poll(lambda so_far=place: turns.waiting(run_id) == so_far, what="a thread to stand in line")
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    return came


def claimed(ours: Engine, run_id: str, looks: Sequence[Message]) -> list[Claimed]:
    """Steps that several threads claim at once."""
    found = gathered(ours.carrier.turns, run_id, [partial(ours.carrier.claim, look) for look in looks])
    assert all(isinstance(each, Claimed) for each in found)
    return found


def completed(ours: Engine, run_id: str, work: Sequence[tuple[Claimed, Any]], *, go_on: bool = True) -> list[Any]:
    """Steps that as many threads complete at once; what each goes on with."""
    acts = [partial(ours.carrier.complete, each, done, go_on=go_on) for each, done in work]
    return gathered(ours.carrier.turns, run_id, acts)


def performed(ours: Engine, some: Sequence[Claimed]) -> list[tuple[Claimed, Any]]:
    return [(each, ours.carrier.perform(each)) for each in some]


def two_layers(database: Database, **fields: Any) -> tuple[Engine, str]:
    return begun(database, lattice(2, WIDTH, **fields), cheap=False)


def test_a_turn_is_for_all_that_wait() -> None:
    turns, calls = Turns(), []

    def work(wanted: Sequence[int]) -> list[int]:
        calls.append(list(wanted))
        return [2 * each for each in wanted]

    many = TOGETHER + 3
    found = gathered(turns, "r", [partial(turns.together, "r", "double", n, work) for n in range(many)])
    assert found == [2 * n for n in range(many)]
    assert [len(each) for each in calls] == [TOGETHER, 3]
    assert turns.waiting("r") == 0


def test_kinds_and_runs_are_apart() -> None:
    turns, calls = Turns(), []

    def work(wanted: Sequence[str]) -> Sequence[str]:
        calls.append(sorted(wanted))
        return wanted

    acts = [partial(turns.together, "r", kind, kind, work) for kind in ("a", "b", "a")]
    assert gathered(turns, "r", acts) == ["a", "b", "a"]
    assert turns.together("s", "a", "s", work) == "s"
    assert sorted(calls) == [["a", "a"], ["b"], ["s"]]


def test_what_the_one_raises_is_raised_in_each() -> None:
    turns = Turns()

    def work(_: Sequence[int]) -> list[int]:
        raise OperationalError(None, None, Exception("away"))

    found = gathered(turns, "r", [partial(turns.together, "r", "double", n, work) for n in range(3)])
    assert [type(each) for each in found] == [OperationalError] * 3
    assert turns.together("r", "double", 1, lambda wanted: wanted) == 1, "and nothing is left of it"


def test_claims_and_completions_take_a_statement_each(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, run_id = two_layers(database)
    seen = rounds(monkeypatch)
    looks = waiting(ours)
    first = claimed(ours, run_id, looks)
    assert [(each.no, each.attempt) for each in first] == [(look.no, 1) for look in looks], "to each its own"
    following = completed(ours, run_id, performed(ours, first))
    assert [len(each.moves) for each in seen[:2]] == [WIDTH, WIDTH]
    assert len(seen) <= 3, "the third claims those that were not known to become ready"
    assert sorted(each.path for each in following) == [f"n1_{n}" for n in range(WIDTH)], "one for each thread"
    assert not ours.inbox, "and no message for any"
    assert completed(ours, run_id, performed(ours, following)) == [None] * WIDTH
    told = started(ours, run_id)
    assert len(told) == len(set(told)) == 2 * WIDTH
    ends(ours, run_id)


def test_outputs_reach_the_steps_that_follow(database: Database) -> None:
    ours, run_id = two_layers(database, does={"succeed": {"a": 1}})
    following = completed(ours, run_id, performed(ours, claimed(ours, run_id, waiting(ours))))
    for each, done in performed(ours, following):
        assert isinstance(done, Performed)
        assert {row.no for row in each.known} == set(each.plan.needs(each.node))
        ours.carrier.complete(each, done)
    ends(ours, run_id)


def test_a_thread_that_lost_its_step_goes_on_with_none(database: Database) -> None:
    ours, run_id = two_layers(database)
    first = claimed(ours, run_id, waiting(ours))
    attempts.lose(ours, first[2])
    following = completed(ours, run_id, performed(ours, first))
    assert following[2] is None
    statuses = ours.statuses(run_id)
    assert [statuses[f"n0_{n}"] for n in range(WIDTH)] == [*["success"] * 2, "queued", *["success"] * 3]
    assert {path for path, status in statuses.items() if status == "running"} == {
        each.path for each in following if each is not None
    }, "and none is claimed that nobody does"
    for each, done in performed(ours, [each for each in following if each is not None]):
        ours.carrier.complete(each, done)
    ends(ours, run_id)


def test_two_attempts_of_one_step_are_told_apart(database: Database) -> None:
    """The first was taken for lost, and both end in the same moment."""
    ours, run_id = two_layers(database)
    first = claimed(ours, run_id, waiting(ours))[0]
    attempts.lose(ours, first)
    ours.sweep()
    (look,) = [look for look in waiting(ours) if look.no == first.no]
    second = ours.carrier.claim(look)
    assert second is not None
    assert completed(ours, run_id, performed(ours, [first, second]), go_on=False) == [None, None]
    assert [each.status for each in attempts.attempts(ours, run_id, first.path)] == ["fenced", "success"]


def test_what_the_database_will_not_have_fails_alone(database: Database) -> None:
    ours, run_id = begun(database, lattice(1, WIDTH) | {"on_failure": "continue"}, cheap=False)
    work = performed(ours, claimed(ours, run_id, waiting(ours)))
    broken = work[3][1]
    work[3] = (work[3][0], replace(broken, output=object()))
    completed(ours, run_id, work)
    statuses = ours.statuses(run_id)
    assert [statuses[f"n0_{n}"] for n in range(WIDTH)] == [*["success"] * 3, "failed", *["success"] * 2]
    ends(ours, run_id, "failed")


def test_the_last_steps_of_a_run_end_it(database: Database) -> None:
    ours, run_id = begun(database, lattice(1, WIDTH), cheap=False)
    completed(ours, run_id, performed(ours, claimed(ours, run_id, waiting(ours))))
    assert ours.row(run_id).status == "success"
    ends(ours, run_id)


def test_an_outage_is_survived_by_all(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, run_id = two_layers(database)
    work = performed(ours, claimed(ours, run_id, waiting(ours)))
    apply, fails = transitions.apply, [OperationalError(None, None, Exception("away"))]

    def away(session: Any, transition: Transition) -> Any:
        if fails:
            raise fails.pop()
        return apply(session, transition)

    monkeypatch.setattr(transitions, "apply", away)
    following = completed(ours, run_id, work)
    assert {ours.statuses(run_id)[f"n0_{n}"] for n in range(WIDTH)} == {"success"}
    for each, done in performed(ours, [each for each in following if each is not None]):
        ours.carrier.complete(each, done)
    ends(ours, run_id)


def test_chains_side_by_side_go_on_each_with_its_own(database: Database) -> None:
    """Slow steps too: each is the only one that its step leads to."""
    nodes = [probe(f"a{n}") for n in range(3)] + [probe(f"b{n}") | {"type": "slow_probe"} for n in range(3)]
    edges = [f"a{n} >> b{n}" for n in range(3)]
    ours, run_id = begun(database, {"name": "w", "nodes": nodes, "edges": edges}, cheap=False)
    following = completed(ours, run_id, performed(ours, claimed(ours, run_id, waiting(ours))))
    assert sorted(each.path for each in following) == ["b0", "b1", "b2"]
    completed(ours, run_id, performed(ours, following))
    ends(ours, run_id)


def test_a_message_that_comes_twice_at_once_is_claimed_once(database: Database) -> None:
    ours, run_id = two_layers(database)
    look = waiting(ours)[0]
    found = gathered(ours.carrier.turns, run_id, [partial(ours.carrier.claim, look) for _ in range(3)])
    assert sum(each is not None for each in found) == 1


POSTGRESQL = pytest.mark.parametrize("database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])


CHAIN = {"name": "w", "nodes": [probe("a"), probe("b")], "edges": ["a >> b"]}


@POSTGRESQL
def test_the_last_step_ends_its_run_by_the_same_statement(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, run_id = begun(database, CHAIN, cheap=False)
    seen = rounds(monkeypatch)
    ours.carrier.carry(waiting(ours)[0])
    assert [len(each.moves) for each in seen] == [1, 1, 1], "a claim and two completions"
    ends(ours, run_id)


@POSTGRESQL
@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ("status = 'compensating'", True),
        ("status = 'paused'", True),
        ("stopping = 'aborted'", True),
        ("error = '{}'", True),
        ("open_steps = 2", False),
        ("open_steps = 1", False),
    ],
)
def test_only_a_sound_run_is_ended_along(database: Database, change: str, refused: bool) -> None:
    ours, run_id = begun(database, CHAIN, cheap=False)
    (first,) = claimed(ours, run_id, waiting(ours))
    ((last, done),) = performed(ours, completed(ours, run_id, performed(ours, [first])))
    round_ = Completion(deps=ours.deps, claimed=last).alone(done)
    assert round_ is not None
    assert round_.ends
    execute(ours, f"UPDATE run SET {change} WHERE id = :run", run=run_id)
    with database.single() as session:
        result = transitions.apply(session, round_)
    assert (result is None) is refused
    if result is not None:
        assert (result.run_status == "success") is (change == "open_steps = 1")
    assert (ours.row(run_id).status == "success") is (change == "open_steps = 1")


@POSTGRESQL
@pytest.mark.parametrize("failed", [False, True])
def test_a_run_with_outputs_or_a_failure_ends_by_its_own(database: Database, failed: bool) -> None:
    definition = CHAIN | {"nodes": [probe("a"), probe("b", {"succeed": {"n": 1}})], "outputs": {"n": "{{b.n}}"}}
    if failed:
        definition = {"name": "w", "on_failure": "continue", "nodes": [probe("a", {"fail": "TOOL_FAILED"}), probe("b")]}
    ours, run_id = begun(database, definition | {"edges": []} if failed else definition, cheap=False)
    ours.drain()
    assert ours.row(run_id).status == ("failed" if failed else "success")
    ends(ours, run_id, "failed" if failed else "success")
