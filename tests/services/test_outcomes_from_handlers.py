"""What handlers say is untrusted: a step ends by it, or fails; it never stays open."""

from collections.abc import Callable
from typing import Any

import pytest

from models.database import Database
from orchestrator.core.outcome import Cancelled, Outcome, Paused, Succeeded, Usage, Waiting
from orchestrator.ports import StepContext
from orchestrator.services.deps import Deps
from orchestrator.settings import Settings
from tests.support import attempts, engine
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound

Execute = Callable[[StepContext], Outcome]


class Said:
    """A handler that says what the test tells it to."""

    def __init__(self, execute: Execute) -> None:
        self.execute = execute


def saying(deps: Deps, type_: str, execute: Execute) -> None:
    """Let `execute` be the handler of a node type in this process."""
    deps.__dict__["handlers"] = {**deps.handlers, type_: Said(execute)}


def run(database: Database, execute: Execute, **settings: Any) -> tuple[Engine, str]:
    ours = engine.make(database, settings=Settings(**settings))
    saying(ours.deps, "probe", execute)
    ours.publish({"name": "w", "nodes": [{"id": "a", "type": "probe"}]})
    run_id = ours.run("w")
    assert_run_sound(ours.deps, run_id)
    return ours, run_id


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Succeeded(output=1, variables={"a": "\x00"}), "VALIDATION"),
        (Succeeded(output=1, variables={"not a name": 1}), "VALIDATION"),
        (Succeeded(output=1, route="\x00"), "VALIDATION"),
        (Succeeded(output=1, variables=None), "INTERNAL"),
        (Waiting(reason="soon", seconds=float("nan")), "VALIDATION"),
        (Waiting(reason="soon", seconds=1e300), "VALIDATION"),
        (Waiting(reason="soon", seconds=-1), "VALIDATION"),
        (Waiting(reason="soon", seconds="x"), "INTERNAL"),
        (Paused(reason="asks", expected_input={"const": float("inf")}), "VALIDATION"),
        (Cancelled(), "CANCELLED"),
        (None, "INTERNAL"),
        ("done", "INTERNAL"),
    ],
)
def test_an_outcome_that_cannot_be_taken_fails_the_step(database: Database, outcome: Any, code: str) -> None:
    ours, run_id = run(database, lambda ctx: outcome)
    assert ours.row(run_id).status == "failed"
    assert ours.row(run_id).error["code"] == code


@pytest.mark.parametrize("raised", [SystemExit(1), RecursionError("deep"), RuntimeError("\x00 \ud800")])
def test_whatever_a_handler_raises_fails_the_step(database: Database, raised: BaseException) -> None:
    def execute(ctx: StepContext) -> Outcome:
        raise raised

    ours, run_id = run(database, execute)
    assert ours.row(run_id).error["code"] == "INTERNAL"


@pytest.mark.parametrize("outcome", [Waiting(reason="a\x00b"), Paused(reason="a\ud800b")])
def test_a_reason_is_made_fit_to_be_stored(database: Database, outcome: Outcome) -> None:
    ours, run_id = run(database, lambda ctx: outcome)
    assert ours.statuses(run_id) == {"a": "waiting"}
    assert attempts.step(ours, run_id, "a").waiting_for in ("a\ufffdb", "a?b")


def test_usage_that_does_not_fit_its_column_is_cut_or_unknown(database: Database) -> None:
    usage = Usage(
        agent="a\x00", model="m" * 300, tokens_in=1 << 70, tokens_out=-1, cost_microcents=-(1 << 70)
    )
    ours, run_id = run(database, lambda ctx: Succeeded(output=1, usage=usage))
    (attempt,) = attempts.attempts(ours, run_id, "a")
    assert (ours.row(run_id).status, attempt.model) == ("success", "m" * 255)
    assert (attempt.tokens_in, attempt.tokens_out, attempt.cost_microcents) == (None, None, 0)
    assert attempt.agent == "a\ufffd"


def test_a_cost_beyond_all_reason_is_unknown(database: Database) -> None:
    ours, run_id = run(database, lambda ctx: Succeeded(output=1, usage=Usage(cost_microcents=2**63 - 1)))
    assert (ours.row(run_id).status, ours.row(run_id).cost_microcents) == ("success", 0)


def test_an_inline_handler_that_raises_fails_its_own_step(database: Database) -> None:
    def execute(ctx: StepContext) -> Outcome:
        raise ValueError("broken plug-in")

    ours = engine.make(database)
    saying(ours.deps, "condition", execute)
    nodes = [{"id": "a", "type": "probe"}, {"id": "b", "type": "condition", "expression": "true"}]
    ours.publish({"name": "w", "nodes": nodes, "edges": ["a >> b"]})
    run_id = ours.run("w")
    assert ours.statuses(run_id) == {"a": "success", "b": "failed"}
    assert ours.row(run_id).error["code"] == "INTERNAL"
    assert_run_sound(ours.deps, run_id)


SECRET = "canary-5f1d0c"


@pytest.mark.parametrize(
    "says",
    [
        lambda: Succeeded(output={"a": SECRET}, variables={"a": f"<{SECRET}>"}),
        lambda: Waiting(reason=f"for {SECRET}"),
        lambda: Paused(reason=f"for {SECRET}", expected_input={"const": SECRET}),
        lambda: (_ for _ in ()).throw(RuntimeError(f"at {SECRET}")),
    ],
)
def test_no_outcome_carries_a_secret_into_a_table_or_the_log(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    says: Callable[[], Outcome],
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    ours, run_id = run(database, lambda ctx: says(), env_allow=("TOKEN",))
    shown = [event.data for event in attempts.events(ours, run_id)]
    shown += [ours.data(run_id).variables, attempts.step(ours, run_id, "a").waiting_for]
    shown += [(found.output, found.error) for found in attempts.attempts(ours, run_id, "a")]
    assert SECRET not in repr(shown)
    assert "***" in repr(shown)
    assert SECRET not in "".join(capfd.readouterr())
