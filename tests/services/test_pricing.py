"""What attempts cost: a workspace's own price, the table's, what was said, the estimate; in this order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from models.database import Database
from models.errors import ErrorCode
from models.queries import prices
from models.queries.prices import ModelPrice
from models.step import Attempt
from orchestrator.core import agent_answer
from orchestrator.core.outcome import Failed, StepError, Succeeded, Usage
from orchestrator.services import pricing, waking
from tests.support.engine import Engine
from tests.support.probes import ended, ends, probe, publish

CENT = 1_000_000
TOLD = {"model": "openai/gpt-4o", "tokens_in": 1_000, "tokens_out": 100, "cost_microcents": 7}
TABLE = 1_000 * 250 + 100 * 1_000  # micro-cents: 250 and 1,000 cents a million
KNOWN_PRICE = ModelPrice(input=100 * CENT, output=200 * CENT, cached_input=10 * CENT)


def set_price(ours: Engine, model: str, price: ModelPrice) -> None:
    with ours.deps.db.transaction() as session:
        prices.put(session, ours.actor.workspace_id, model, price)


def cost(ours: Engine, run_id: str) -> int:
    """What the one step of a run cost: its attempts' sum, which is the run's."""
    with ours.deps.db.read() as session:
        found = session.scalars(select(Attempt.cost_microcents).where(Attempt.run_id == run_id)).all()
    assert sum(found) == ours.row(run_id).cost_microcents
    return int(sum(found))


def told(**usage: Any) -> dict[str, Any]:
    return {"succeed": {}, "usage": {**TOLD, **usage}}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, TABLE),
        ({"cached_in": 400}, TABLE - 400 * 125),
        ({"model": "gpt-4o"}, TABLE),
        ({"model": "stub/unheard-of"}, 7),
        ({"model": None}, 7),
        ({"tokens_out": None}, 7),
        ({"model": "stub/unheard-of", "cost_microcents": None}, 3 * CENT),
        ({"tokens_in": 0, "tokens_out": 0}, 0),
        ({"tokens_in": 1 << 62}, 7),
    ],
)
def test_the_table_goes_before_what_was_said_and_that_before_the_estimate(
    database: Database, usage: dict[str, Any], expected: int
) -> None:
    ours = publish(database, probe("a", told(**usage), estimated_cost_cents=3))
    assert cost(ours, ended(ours)) == expected


def test_the_workspaces_price_goes_before_all(database: Database) -> None:
    ours = publish(database, probe("a", told(cached_in=400)))
    set_price(ours, "gpt-4o", KNOWN_PRICE)
    assert cost(ours, ended(ours)) == 600 * 100 + 400 * 10 + 100 * 200
    set_price(ours, "openai/gpt-4o", ModelPrice(input=0, output=CENT))
    ours.deps.own_prices._kept.clear()
    assert cost(ours, ended(ours)) == 100


def test_a_price_is_read_anew_after_five_seconds(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("orchestrator.services.pricing.time.monotonic", lambda: now)
    ours = publish(database, probe("a", told()))
    usage = Usage(model="gpt-4o", tokens_in=1_000_000, tokens_out=0)

    def paid() -> int | None:
        return pricing.priced(ours.deps, ours.actor.workspace_id, usage).cost_microcents

    assert paid() == 250 * CENT
    set_price(ours, "gpt-4o", KNOWN_PRICE)
    now += 4.9
    assert paid() == 250 * CENT
    now += 0.2
    assert paid() == 100 * CENT


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_was_known_last_holds_while_the_database_is_away(
    database: Database, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("orchestrator.services.pricing.time.monotonic", lambda: now)
    ours = publish(database, probe("a", told()))
    set_price(ours, "gpt-4o", KNOWN_PRICE)
    own = ours.deps.own_prices
    assert own.of(ours.actor.workspace_id, "gpt-4o") == KNOWN_PRICE
    own.db = Database(f"sqlite:///{tmp_path}/nowhere/at/all.db")
    now += 60
    assert own.of(ours.actor.workspace_id, "gpt-4o") == KNOWN_PRICE
    assert own.of("another", "gpt-4o") is None


@given(*[st.integers(0, 10**12)] * 3, *[st.integers(0, 10**14)] * 2, st.none() | st.integers(0, 10**14))
def test_a_cost_is_rounded_once(
    tokens_in: int, tokens_out: int, cached: int, input_: int, output: int, cached_input: int | None
) -> None:
    price = ModelPrice(input=input_, output=output, cached_input=cached_input)
    found = pricing.cost_of(price, tokens_in, tokens_out, cached)
    hit = min(cached, tokens_in)
    exact = (tokens_in - hit) * input_ + hit * (input_ if cached_input is None else cached_input)
    exact += tokens_out * output
    assert -500_000 < exact - found * 1_000_000 + 1 <= 500_000


def test_a_failure_and_an_answer_from_outside_are_priced_too(database: Database) -> None:
    ours = publish(database, probe("a", {"wait": "an answer"}))
    for said in (
        Succeeded(output={}, usage=Usage(**TOLD)),
        Failed(error=StepError.of(ErrorCode.TOOL_FAILED, "no", transient=False), usage=Usage(**TOLD)),
    ):
        run_id = ours.run("w")
        ours.send(waking.settle(ours.deps, run_id, 0, 1, said))
        ends(ours, run_id, "success" if isinstance(said, Succeeded) else "failed")
        assert cost(ours, run_id) == TABLE


def test_an_agents_output_shows_what_its_attempt_cost(database: Database) -> None:
    ours = publish(database, {"id": "a", "type": "agent", "agent": "writer", "task": {"title": "Write"}})
    run_id = ours.run("w")
    assert ours.statuses(run_id) == {"a": "waiting"}  # nobody is there; the answer comes from outside
    ours.send(waking.settle(ours.deps, run_id, 0, 1, agent_answer.answered("done", Usage(**TOLD))))
    ends(ours, run_id, "success")
    with ours.deps.db.read() as session:
        (output,) = session.scalars(select(Attempt.output).where(Attempt.run_id == run_id))
    assert output["usage"] == {"tokens_in": 1_000, "tokens_out": 100, "cost_microcents": TABLE}
    assert cost(ours, run_id) == TABLE
