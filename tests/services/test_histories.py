"""The same histories through both databases' statements: the same answers, rows and events."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.database import Database
from models.moves import AttemptChange, AttemptResult, Decision, ExtraEvent, Move, Transition
from models.states import StepStatus as S
from orchestrator.core import decide
from tests.support import engine
from tests.support.twins import Twins

pytestmark = pytest.mark.postgres
OPEN = ("running", "paused")
HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
DIAMOND: dict[str, Any] = {
    "name": "diamond",
    "nodes": [
        {"id": "a", "type": "probe"},
        {"id": "b", "type": "slow_probe"},
        {"id": "c", "type": "slow_probe"},
        {"id": "all", "type": "probe"},
        {"id": "any", "type": "probe", "join": "any"},
        {"id": "two", "type": "probe", "join": {"at_least": 2}},
        {"id": "mark", "type": "noop", "join": "any"},
        {"id": "last", "type": "probe"},
    ],
    "edges": [
        "a >> [b, c] >> all",
        "[b, c] >> any",
        "[a, b, c] >> two",
        "[b, c] >> mark",
        "[all, any] >> last",
    ],
}
A, B, C, ALL, ANY, TWO, MARK, LAST = range(8)


@pytest.fixture
def twins(emptied_postgres: Database, sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[[], Twins]]:
    """`twins()`: the diamond started on PostgreSQL and on SQLite."""
    shutil.copyfile(sqlite_template, tmp_path / "twin.db")
    sqlite = Database(f"sqlite:///{tmp_path / 'twin.db'}")
    yield lambda: Twins([engine.make(sqlite), engine.make(emptied_postgres)], DIAMOND)
    sqlite.close()


def round_(*moves: Move, decisions: tuple[Decision, ...] = (), **fields: Any) -> Transition:
    """A round of a run that is named when it is applied."""
    return Transition(run_id="", moves=moves, decisions=decisions, **fields)


def claim(no: int, fence: int, **fields: Any) -> Transition:
    move = Move(
        no=no,
        fence=fence,
        sources=(S.QUEUED,),
        to=S.RUNNING,
        event="step.started",
        bump=1,
        lease=10.0,
        timeout=60.0,
        worker="w:1",
        change=AttemptChange.START,
        result=AttemptResult(status="running", reserved=5),
    )
    return round_(move, **({"unless_stopping": True} | fields))


def end(no: int, fence: int, to: S, event: str, **fields: Any) -> Move:
    status = {"success": "success", "failed": "failed", "waiting": "waiting", "queued": "lost"}.get(
        to, "failed"
    )
    return Move(
        no=no,
        fence=fence,
        sources=(S.RUNNING,),
        to=to,
        event=event,
        change=AttemptChange.END,
        result=AttemptResult(status=status, output='{"n":1}', cost=3, tokens_in=1),
        **fields,
    )


def complete(twins: Twins, no: int, fence: int, digits: str | None = None, **fields: Any) -> Transition:
    node = twins.plan.at(no)
    digits = "1" * len(node.out) if digits is None else digits
    move = end(
        no, fence, S.SUCCESS, "step.completed", tries=1, losses=0, out_edges=digits, more={"edges": digits}
    )
    return round_(move, decisions=decide.decisions(twins.plan, node, digits), while_=OPEN, **fields)


def skip(twins: Twins, no: int, **fields: Any) -> Transition:
    node = twins.plan.at(no)
    digits = decide.edges_on_skip(node)
    move = Move(
        no=no,
        fence=0,
        sources=(S.PENDING,),
        to=S.SKIPPED,
        event="step.skipped",
        out_edges=digits,
        more={"edges": digits},
        **fields,
    )
    return round_(move, decisions=decide.decisions(twins.plan, node, digits), while_=OPEN)


def moved(twins: Twins, transition: Transition) -> list[int]:
    """The steps that a round moved."""
    result = twins.apply(transition)
    return [] if result is None else [step.no for step in result.moved]


def verdicts(twins: Twins, transition: Transition) -> dict[int, str | None]:
    result = twins.apply(transition)
    assert result is not None
    return {target.no: target.verdict for target in result.targets}


def begun(twins: Twins, *nos: int) -> None:
    """Claim and complete these steps, all edges live."""
    for no in nos:
        assert moved(twins, claim(no, 0)) == [no]
        assert moved(twins, complete(twins, no, 1)) == [no]


def test_two_claims_of_one_step(twins: Callable[[], Twins]) -> None:
    both = twins()
    assert moved(both, claim(A, 0)) == [A]
    assert moved(both, claim(A, 0)) == []
    assert moved(both, claim(A, 1)) == []
    assert both.told() == [("step.queued", "a"), ("step.started", "a")]


def test_a_completion_with_an_older_fence(twins: Callable[[], Twins]) -> None:
    both = twins()
    both.apply(claim(A, 0))
    given_back = end(A, 1, S.QUEUED, "step.queued", losses=1)
    assert moved(both, round_(given_back, while_=OPEN)) == [A]
    assert moved(both, claim(A, 1)) == [A]
    assert moved(both, complete(both, A, 1)) == []
    assert moved(both, complete(both, A, 2)) == [A]


def test_a_completion_that_comes_twice_decides_once(twins: Callable[[], Twins]) -> None:
    both = twins()
    both.apply(claim(A, 0))
    assert verdicts(both, complete(both, A, 1)) == {B: "queued", C: "queued", TWO: None}
    assert verdicts(both, complete(both, A, 1)) == {}


def test_joins(twins: Callable[[], Twins]) -> None:
    both = twins()
    begun(both, A)
    both.apply(claim(B, 0))
    assert verdicts(both, complete(both, B, 1)) == {ALL: None, ANY: "queued", TWO: "queued", MARK: "inline"}
    both.apply(claim(C, 0))
    found = verdicts(both, complete(both, C, 1))
    assert found == {ALL: "queued", ANY: None, TWO: None, MARK: None}


def test_dead_edges(twins: Callable[[], Twins]) -> None:
    both = twins()
    both.apply(claim(A, 0))
    found = verdicts(both, complete(both, A, 1, "100"))
    assert found == {B: "queued", C: "dead", TWO: None}
    assert verdicts(both, skip(both, C)) == {ALL: None, ANY: None, TWO: "dead", MARK: None}


def test_a_closure_of_skips_sets_counters(twins: Callable[[], Twins]) -> None:
    both = twins()
    assert moved(both, skip(both, ALL, undecided=0, live=0)) == [ALL]
    assert moved(both, skip(both, ALL, undecided=5, live=5)) == []


def test_a_join_in_a_chord_and_out_of_it(twins: Callable[[], Twins]) -> None:
    both = twins()
    begun(both, A)

    def mark(chord: bool) -> bool:
        decision = Decision(source=None, target=ALL, decided=0, chord=chord)
        result = both.apply(round_(decisions=(decision,), while_=OPEN))
        assert result is not None
        return result.targets[0].in_chord

    assert mark(True)
    both.apply(claim(B, 0))
    retrying = end(B, 1, S.RETRYING, "step.retrying", tries=1, due=1_700_000_000.5)
    left = decide.leaving_chord(both.plan, both.plan.at(B))
    result = both.apply(round_(retrying, decisions=left, while_=OPEN))
    assert result is not None
    assert {target.no: target.in_chord for target in result.targets}[ALL] is False
    assert mark(True)


def test_a_round_of_a_run_that_is_being_stopped(twins: Callable[[], Twins]) -> None:
    both = twins()
    begun(both, A)
    both.apply(claim(B, 0))
    stop = [
        replace(
            end(B, 1, S.ABORTED, "step.aborted", bump=1, out_edges="0000"),
            result=AttemptResult(status="aborted"),
        ),
        Move(no=C, fence=0, sources=(S.QUEUED,), to=S.SKIPPED, event="step.skipped", out_edges="0000"),
    ]
    error = {"code": "CANCELLED", "message": "enough", "step": None, "details": None}
    result = both.apply(round_(*stop, while_=OPEN, stopping="aborted", error=error))
    assert result is not None
    assert (result.stopping, result.failed, result.open_steps) == ("aborted", True, 5)
    assert both.apply(claim(TWO, 0)) is None
    assert moved(both, complete(both, B, 1)) == []


def test_extra_events_go_with_the_moves(twins: Callable[[], Twins]) -> None:
    both = twins()
    both.apply(claim(A, 0))
    extra = ExtraEvent(type="variable.set", step="a", data={"key": "x", "value": [1, None, "é\u2028"]})
    both.apply(complete(both, A, 7, extras=(extra,)))
    assert ("variable.set", "a") not in both.told()
    both.apply(complete(both, A, 1, extras=(extra,)))
    assert both.told()[2:4] == [("step.completed", "a"), ("variable.set", "a")]


def test_a_run_in_none_of_the_statuses(twins: Callable[[], Twins]) -> None:
    both = twins()
    assert both.apply(claim(A, 0, while_=("paused",))) is None


def anything(twins: Twins, random: Random) -> Transition:
    """A round that may be legal, late, doubled or none of the engine's."""
    no = random.randrange(8)
    fence = max(0, twins.attempt(no) - random.choice((0, 0, 0, 1)))
    node = twins.plan.at(no)
    digits = "".join(random.choice("01") for _ in node.out)
    kind = random.choice(
        ("claim", "claim", "complete", "complete", "lost", "retry", "queue", "skip", "chord", "stop")
    )
    if kind == "claim":
        return claim(
            no, fence, while_=random.choice((("running",), OPEN)), unless_stopping=random.random() < 0.8
        )
    if kind == "complete":
        return complete(twins, no, fence, digits)
    if kind == "lost":
        move = end(no, fence, S.QUEUED, "step.queued", losses=1)
        return round_(move, decisions=decide.leaving_chord(twins.plan, node), while_=OPEN)
    if kind == "retry":
        return round_(end(no, fence, S.RETRYING, "step.retrying", tries=1, due=1_700_000_000.25), while_=OPEN)
    if kind == "queue":
        move = Move(no=no, fence=fence, sources=(S.PENDING, S.RETRYING), to=S.QUEUED, event="step.queued")
        return round_(move, while_=OPEN)
    if kind == "skip":
        return skip(twins, no, undecided=random.choice((None, 0)))
    if kind == "chord":
        mark = Decision(source=None, target=no, decided=0, need=node.need, chord=random.choice((True, False)))
        return round_(decisions=(*decide.decisions(twins.plan, node, digits), mark), while_=OPEN)
    stop = end(no, fence, S.ABORTED, "step.aborted", bump=1)
    return round_(
        stop, stopping=random.choice(("aborted", "failed", None)), error={"code": kind}, while_=OPEN
    )


@settings(max_examples=40, deadline=None, suppress_health_check=HEALTH)
@given(st.randoms(use_true_random=False), st.integers(1, 25))
def test_any_history(twins: Callable[[], Twins], random: Random, length: int) -> None:
    both = twins()
    for _ in range(length):
        both.apply(anything(both, random))
