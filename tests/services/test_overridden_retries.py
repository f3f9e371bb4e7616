"""Retry and timeout as an operator overrides them: for a run, for single nodes of it, for one step that goes on."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.core.outcome import Outcome, Succeeded
from orchestrator.ports import StepContext
from orchestrator.services import overriding
from orchestrator.services.reaching import Wanted
from tests.services.test_outcomes_from_handlers import saying
from tests.support import attempts, engine
from tests.support.bodies import body, definition, drive, ended, probe
from tests.support.engine import Engine

DOWN: dict[str, Any] = {"fail": "NETWORK"}
AT_ONCE = {"initial": 0, "jitter": 0}


@pytest.fixture
def ours(database: Database) -> Engine:
    return engine.make(database)


def tries(ours: Engine, run_id: str, *paths: str) -> list[int]:
    return [len(attempts.attempts(ours, run_id, path)) for path in paths]


def test_the_nodes_goes_before_the_runs_and_that_before_the_definitions(ours: Engine) -> None:
    nodes = [probe("a", does=DOWN, retry={"max_attempts": 4}), probe("b", does=DOWN), probe("c", does=DOWN)]
    described = definition(*nodes, on_failure="continue", retry=AT_ONCE)
    overrides = {"retry": {"max_attempts": 2}, "nodes": {"b": {"retry": {"max_attempts": 3}}}}
    assert tries(ours, ended(ours, described, overrides=overrides)["id"], "a", "b", "c") == [2, 3, 2]
    again = ours.start("w")
    drive(ours, again)
    assert tries(ours, again, "a", "b", "c") == [4, 1, 1]


def test_what_an_override_leaves_out_stays(ours: Engine) -> None:
    policy = {"max_attempts": 2, "not_on": ["TIMEOUT"], "condition": "error.code == 'NETWORK'", **AT_ONCE}
    nodes = [probe("a", does=DOWN, retry=policy), probe("b", does={"fail": "TIMEOUT"}, retry=policy)]
    found = ended(ours, definition(*nodes, on_failure="continue"), overrides={"retry": {"max_attempts": 3}})
    assert tries(ours, found["id"], "a", "b") == [3, 1]


def test_steps_of_bodies_are_named_by_their_node(ours: Engine) -> None:
    each = {"id": "each", "type": "parallel", "count": 2, "body": body(probe("x", does=DOWN)), "on_error": "collect"}
    overrides = {"nodes": {"x": {"retry": {"max_attempts": 2, **AT_ONCE}}}}
    found = ended(ours, definition(each), overrides=overrides)
    assert tries(ours, found["id"], "each[0]/x", "each[1]/x") == [2, 2]
    assert found["status"] == "success"


def test_a_timeout_is_what_the_handler_is_given(ours: Engine) -> None:
    left: dict[str, float] = {}

    def execute(ctx: StepContext) -> Outcome:
        left[ctx.path] = round(ctx.remaining(1_000))
        return Succeeded(output=1)

    saying(ours.deps, "probe", execute)
    nodes = [probe("a", timeout=50), probe("b", timeout=50), probe("c")]
    ended(ours, definition(*nodes), overrides={"timeout": 20, "nodes": {"b": {"timeout": 30}}})
    assert left == {"a": 20, "b": 30, "c": 20}


def test_a_steps_own_goes_before_all(ours: Engine) -> None:
    ours.publish(definition(probe("a", does=DOWN, retry={"max_attempts": 2, "initial": "1h"})))
    run_id = ours.run("w", overrides={"nodes": {"a": {"retry": {"max_attempts": 3}}}})
    wanted = Wanted(run_id=run_id, path="a", reason="the line is back")
    given = {"retry": {"max_attempts": 5, **AT_ONCE}, "timeout": 9.0}
    ours.send(overriding.override(ours.deps, ours.actor, wanted, given))
    drive(ours, run_id)
    assert tries(ours, run_id, "a") == [5]
    told = [event for event in attempts.events(ours, run_id) if event.type == "override.applied"]
    assert [(event.step, event.actor) for event in told] == [(None, "test"), ("a", "test")]
    assert told[1].data == given | {"reason": "the line is back"}


@pytest.mark.parametrize(
    ("policy", "retried"),
    [
        ("always", {"NETWORK", "TOOL_FAILED", "VALIDATION", "INTERNAL", "TIMEOUT"}),
        ("on_failure", {"TOOL_FAILED", "VALIDATION"}),
        ("on_error", {"NETWORK", "INTERNAL", "TIMEOUT"}),
        ("on_transient_error", {"NETWORK", "TIMEOUT"}),
        ("never", set()),
    ],
)
def test_each_policy_retries_its_group(ours: Engine, policy: str, retried: set[str]) -> None:
    codes = ["NETWORK", "TOOL_FAILED", "VALIDATION", "INTERNAL", "TIMEOUT", "EXPIRED"]
    nodes = [probe(code.lower(), does={"fail": code}) for code in codes]
    retry = {"max_attempts": 2, "policy": policy, **AT_ONCE}
    found = ended(ours, definition(*nodes, on_failure="continue", retry=retry))
    again = {code for code in codes if tries(ours, found["id"], code.lower()) == [2]}
    assert again == retried
