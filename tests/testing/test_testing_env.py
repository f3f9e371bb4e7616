"""The test kit: mocks in the place of the outside world, time that is skipped, people who act."""

import time
from typing import Any

import pytest

from models.errors import ConflictError, InvalidError
from orchestrator import Workflow
from orchestrator.testing import NEVER, BrokenError, Call, Done, EndlessError, Env, Fail, UnmockedError

PARTNER = """
name: partner
inputs: {type: object, required: [name], properties: {name: {type: string}}}
nodes:
  - id: score
    type: agent
    agent: scorer
    task: {title: "Score {{inputs.name}}"}
    retry: {max_attempts: 3, initial: 10s}
  - {id: legal_review, type: approval, expires: 14d, required: 2}
  - {id: cool_off, type: wait, duration: 7d}
  - {id: mail, type: http, url: "https://example.com/mail", method: POST}
edges: ["score >> legal_review >> cool_off >> mail"]
outputs: {score: "{{score.output.score}}", mailed: "{{mail.body.ok}}"}
"""


def one(**node: Any) -> dict[str, Any]:
    """A workflow of one node."""
    return {"name": "one", "nodes": [{"id": "a", **node}]}


def chain(*nodes: dict[str, Any]) -> dict[str, Any]:
    edges = [" >> ".join(node["id"] for node in nodes)] if len(nodes) > 1 else []
    return {"name": "chain", "nodes": list(nodes), "edges": edges}


def http(node_id: str = "a", **more: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "http", "url": "https://example.com", **more}


def test_days_pass_in_a_moment() -> None:
    began = time.perf_counter()
    with Env() as env:
        env.mock("score", [Fail("NETWORK"), {"score": 80}]).mock("mail", {"ok": True})
        run = env.run(PARTNER, {"name": "Ada"})
        assert run.waiting == ["legal_review"]
        assert run.steps["score"].attempts == 2
        assert 5 <= env.elapsed <= 30
        env.skip("13d")
        assert run.approve(by="ann").waiting == ["legal_review"]
        run.approve("legal_review", by="bob")
        assert (run.status, run.outputs) == ("success", {"score": 80, "mailed": True})
        assert env.elapsed > 20 * 86_400
        assert [(call.path, call.attempt) for call in env.calls] == [("score", 1), ("score", 2), ("mail", 1)]
        assert run.calls("score")[0].fields["task"] == {"title": "Score Ada"}
    assert time.perf_counter() - began < 60


def test_nobody_decides_in_time() -> None:
    with Env() as env:
        env.mock("score", {"score": 80})
        run = env.run(PARTNER, {"name": "Ada"})
        env.skip("14d")
        assert run.status == "failed"
        assert run.error is not None
        assert (run.error["code"], run.error["step"]) == ("EXPIRED", "legal_review")


def test_what_an_agent_says_has_the_shape_of_its_output() -> None:
    with Env() as env:
        env.mock_type("agent", lambda call: {"path": call.path, "attempt": call.attempt})
        run = env.run(one(type="agent", agent="x"))
        output = run.steps["a"].output
        assert output["output"] == {"path": "a", "attempt": 1}
        assert set(output) == {"text", "output", "usage", "model"}
        env.mock("a", "only words")
        assert env.run("one").steps["a"].output["text"] == "only words"


def test_an_unmocked_step_ends_the_test_with_the_remedy() -> None:
    with pytest.raises(UnmockedError, match=r"write env.mock\('a', \{…\}\) or env.mock_type\('http'"), Env() as env:
        env.run(chain(http()))


def test_a_mock_that_raises_ends_the_test_with_its_own_error() -> None:
    def wrong(call: Call) -> None:
        raise KeyError(call.path)

    with pytest.raises(KeyError), Env() as env:
        env.mock("a", wrong).run(chain(http()))


@pytest.mark.parametrize(
    ("says", "code"), [(float("nan"), "VALIDATION"), ("x" * 70_000, "OUTPUT_TOO_LARGE"), ({1, 2}, "VALIDATION")]
)
def test_what_a_mock_says_is_checked_as_a_handlers_output(says: Any, code: str) -> None:
    with Env() as env:
        run = env.mock("a", says).run(chain(http()))
        assert run.error is not None
        assert run.error["code"] == code


def test_a_mock_of_no_node_and_one_of_the_engines_own_are_refused() -> None:
    with pytest.raises(AssertionError, match="no workflow of this test has a node for the mock of b"), Env() as env:
        env.mock("a", 1).mock("b", 2).run(chain(http()))
    with pytest.raises(ValueError, match="which the engine evaluates itself"), Env() as env:
        env.mock("a", 1).run(one(type="noop"))


def test_a_path_goes_before_a_name() -> None:
    each = {
        "id": "each",
        "type": "parallel",
        "items": "{{[1, 2, 3]}}",
        "body": {"nodes": [http("score")], "edges": []},
    }
    with Env() as env:
        env.mock("score", 1).mock("each/score", 2).mock("each[1]/score", 3)
        run = env.run(chain(each))
        bodies = [run.steps[f"each[{n}]/score"].output["body"] for n in range(3)]
        assert bodies == [2, 3, 2]
        assert len(run.calls("score")) == 3


def test_work_takes_time_and_pools_hold() -> None:
    nodes = [http(name, pool="gpu") for name in "abc"]
    with Env(auto_skip=False) as env:
        env.pool("gpu", 2)
        env.mock_type("http", Done(1, after="10m"))
        run = env.run({"name": "w", "nodes": nodes})
        assert sorted(step.status for step in run.steps.values()) == ["queued", "running", "running"]
        env.skip("10m")
        assert sorted(step.status for step in run.steps.values()) == ["running", "success", "success"]
        env.skip("10m")
        assert run.status == "success"


def test_what_never_ends_runs_into_its_timeout() -> None:
    with Env() as env:
        run = env.mock("a", [NEVER, 2]).run(chain(http(timeout="5m", retry={"max_attempts": 2, "initial": 1})))
        assert run.steps["a"].status == "running"
        env.skip("6m")
        assert run.status == "success"
        assert run.steps["a"].attempts == 2


def test_a_retry_comes_by_itself_beside_somebody_who_waits() -> None:
    nodes = [http(retry={"max_attempts": 2, "initial": "1h"}), {"id": "ask", "type": "approval"}]
    with Env() as env:
        run = env.mock("a", [Fail("NETWORK"), 1]).run({"name": "w", "nodes": nodes})
        assert run.steps["a"].status == "success"
        assert run.waiting == ["ask"]


def test_a_wait_does_not_pass_while_somebody_is_asked() -> None:
    nodes = [{"id": "wait", "type": "wait", "duration": "3d"}, {"id": "ask", "type": "approval"}]
    with Env() as env:
        run = env.run({"name": "w", "nodes": nodes})
        assert sorted(run.waiting) == ["ask", "wait"]
        run.approve("ask")
        assert run.status == "success"


def test_signals_pauses_and_operators() -> None:
    nodes = [
        {"id": "signed", "type": "signal", "signal": "signed"},
        {"id": "check", "type": "pause", "expected_input": {"type": "object", "required": ["ok"]}},
        http("mail"),
    ]
    with Env() as env:
        run = env.mock("mail", Fail("TOOL_FAILED")).run(chain(*nodes))
        run.signal("signed", {"by": "Ada"})
        assert run.status == "paused"
        with pytest.raises(InvalidError):
            run.resume({})
        run.resume({"ok": True})
        assert run.status == "failed"
        env.mock("mail", 1)
        assert run.retry("mail").status == "success"
        assert run.rerun("mail").steps["mail"].attempts == 3
        with pytest.raises(ConflictError):
            run.pause()


def test_budgets_and_costs() -> None:
    definition = {**chain({"id": "a", "type": "agent", "agent": "x"}, http("b")), "budget": {"limit_cents": 5}}
    with Env() as env:
        run = env.mock("a", Done("much", cost_cents=7)).mock("b", 1).run(definition)
        assert (run.status, run.cost_cents) == ("aborted", 7)
        assert run.error is not None
        assert run.error["code"] == "BUDGET_EXCEEDED"


def test_called_runs_and_the_builder() -> None:
    child = Workflow("child")
    child.http("fetch", url="https://example.com")
    with Env() as env:
        env.define(child)
        env.mock("fetch", {"n": 1})
        run = env.run(one(type="subworkflow", workflow="child"))
        assert run.status == "success"
        assert run.called("a").steps["fetch"].output["body"] == {"n": 1}


def test_a_mock_may_act_on_its_run() -> None:
    with Env() as env:
        env.mock("a", lambda call: env.signal("go", "k", call.path))
        run = env.run(chain(http(), {"id": "s", "type": "signal", "signal": "go", "key": "k"}))
        assert run.steps["s"].output == "a"


def test_environment_settings_and_time() -> None:
    with Env(environ={"TOKEN": "secret"}, start="2030-05-01T00:00:00Z", max_output_bytes=300) as env:
        nodes = one(type="http", url="https://example.com/{{env.TOKEN}}")
        run = env.mock("a", "x" * 400).run(nodes)
        assert run.error is not None
        assert run.error["code"] == "OUTPUT_TOO_LARGE"
        assert run.events[0]["at"].startswith("2030-05-01")


def test_a_workflow_without_end_ends_the_test() -> None:
    loop = {
        "id": "again",
        "type": "loop",
        "mode": "while",
        "condition": "true",
        "max_iterations": 10_000,
        "body": {"nodes": [http()], "edges": []},
    }
    env = Env()
    env.open(most_steps=50)
    with pytest.raises(EndlessError):
        env.mock("a", 1).run(chain(loop))
    env.close()


def test_the_invariants_are_checked_at_the_end() -> None:
    env = Env()
    env.open()
    env.mock("a", NEVER).run(chain(http()))
    env.check()
    env.deps.clock.move_to(env.deps.clock.now() + 2e9)  # past the lease, with no sweep
    with pytest.raises(BrokenError):
        env.check()
    env.close()


def test_a_definition_that_is_refused_names_every_problem() -> None:
    with pytest.raises(InvalidError) as caught, Env() as env:
        env.run({"name": "w", "nodes": [{"id": "a", "type": "htp"}]})
    assert any("htp" in note for note in caught.value.__notes__)
