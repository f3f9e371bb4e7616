"""The agent node against a real gateway: keys, sessions, the prompt, stops."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from models.errors import ErrorCode
from orchestrator.core.outcome import Failed, Succeeded
from orchestrator.drivers.openclaw import OpenClawGateway
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.handlers.agent import AgentHandler
from orchestrator.ports import Parts, StepContext
from orchestrator.settings import Settings
from tests.support.contexts import context
from tests.support.gateways import LocalGateway
from tests.support.polling import poll

RUN = "018f0000-0000-7000-8000-000000000001"


@pytest.fixture
def handler(local_gateway: LocalGateway) -> Iterator[AgentHandler]:
    gateway = OpenClawGateway(lambda: local_gateway.address)
    yield AgentHandler(Parts(settings=Settings(), gateway=gateway, outbound=GuardedOutbound()))
    gateway.close()


def step(**fields: Any) -> StepContext:
    given = {"agent": "echo"} | fields
    return context(given, type="agent", input={"lead": "Ada"}, deadline=time.monotonic() + 10)


def message_of(gateway: LocalGateway, session_key: str) -> str:
    """What the agent was told."""

    async def history() -> list[dict[str, Any]]:
        return gateway.ledger.history(session_key, 10)

    return str(gateway.on_loop(history())[0]["content"][0]["text"])


def test_the_answer_is_the_output(handler: AgentHandler) -> None:
    outcome = handler.execute(step())
    assert isinstance(outcome, Succeeded)
    assert outcome.output["output"] == {"lead": "Ada"}
    assert json.loads(outcome.output["text"]) == {"lead": "Ada"}
    assert set(outcome.output) == {"text", "output", "usage", "model"}
    assert outcome.usage is not None
    assert outcome.usage.agent == "echo"


def test_the_prompt_begins_with_our_words_and_ends_with_the_input(
    handler: AgentHandler, local_gateway: LocalGateway
) -> None:
    task = {
        "title": "/reset everything",
        "description": "Look at it.\nTwice.",
        "priority": "high",
        "tags": ["a", "b"],
    }
    assert isinstance(handler.execute(step(task=task)), Succeeded)
    assert message_of(local_gateway, f"agent:echo:wf-{RUN}-step-a1") == (
        "Task:\n/reset everything\n\nLook at it.\nTwice.\n\nPriority: high\n\nTags: a, b\n\n"
        'Input:\n{"lead":"Ada"}'
    )


def test_step_data_cannot_script_the_gateway(handler: AgentHandler) -> None:
    hostile = replace(step(), input={"note": 'x\n@gateway {"fail": "model"}\n'})
    assert isinstance(handler.execute(hostile), Succeeded)


def test_each_attempt_has_a_key_and_a_session_of_its_own(
    handler: AgentHandler, local_gateway: LocalGateway
) -> None:
    task = {"description": '@gateway {"fail": "model", "times": 1}'}
    first = handler.execute(step(task=task))
    assert isinstance(first, Failed)
    assert first.error.code is ErrorCode.LLM_DOWN
    assert isinstance(handler.execute(replace(step(task=task), attempt=2)), Succeeded)
    rows = {row["runId"]: row["sessionKey"] for row in local_gateway.runs()}
    assert rows == {
        f"{RUN}:step:1": f"agent:echo:wf-{RUN}-step-a1",
        f"{RUN}:step:2": f"agent:echo:wf-{RUN}-step-a2",
    }


@pytest.mark.parametrize(
    ("session", "expected"),
    [("run", f"agent:echo:wf-{RUN}"), ("review", f"agent:echo:wf-{RUN}-session-review")],
)
def test_a_session_can_be_kept(
    handler: AgentHandler, local_gateway: LocalGateway, session: str, expected: str
) -> None:
    for number, path in enumerate(("a", "b")):
        ctx = replace(step(session=session), path=path, idempotency_key=f"{RUN}:{path}")
        assert isinstance(handler.execute(ctx), Succeeded)
        assert len(local_gateway.runs(expected)) == number + 1


def test_paths_that_differ_in_case_only_do_not_share_a_session(
    handler: AgentHandler, local_gateway: LocalGateway
) -> None:
    for path in ("Draft", "draft", "each[0]/draft"):
        handler.execute(replace(step(), path=path, idempotency_key=f"{RUN}:{path}"))
    keys = {row["sessionKey"] for row in local_gateway.runs()}
    assert len(keys) == 3
    assert all(key == key.lower() for key in keys)


def test_a_key_of_the_steps_own_stays_in_its_workspace(
    handler: AgentHandler, local_gateway: LocalGateway
) -> None:
    for workspace in ("w1", "w2"):
        ctx = replace(step(), workspace_id=workspace, idempotency_key="order-7-sign", input={"of": workspace})
        outcome = handler.execute(ctx)
        assert isinstance(outcome, Succeeded)
        assert outcome.output["output"] == {"of": workspace}
    assert {row["runId"] for row in local_gateway.runs()} == {"w1:order-7-sign:1", "w2:order-7-sign:1"}


def test_a_lost_attempt_is_taken_over(handler: AgentHandler, local_gateway: LocalGateway) -> None:
    assert isinstance(handler.execute(step()), Succeeded)
    outcome = handler.execute(replace(step(), attempt=2, lost=(1,)))
    assert isinstance(outcome, Succeeded)
    assert outcome.output["output"] == {"lead": "Ada"}
    assert len(local_gateway.runs()) == 1


def test_stop_ends_the_attempt(handler: AgentHandler, local_gateway: LocalGateway) -> None:
    ctx = step(task={"description": '@gateway {"hang": true}'})
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(handler.execute, ctx)
        poll(local_gateway.runs)
        data = json.loads(json.dumps(handler.stop_data(ctx)))
        handler.stop(data)
        outcome = future.result(3)
    assert isinstance(outcome, Failed)
    assert outcome.error.code is ErrorCode.CANCELLED


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"agent": "no name"}, "is no name"),
        ({"agent": 7}, "is no name"),
        ({"agent": ""}, "is no name"),
        ({"task": {"titel": "x"}}, "'titel'"),
        ({"task": {"tags": "a"}}, "task.tags"),
        ({"task": {"title": ["x"]}}, "task.title"),
    ],
)
def test_fields_that_cannot_be_sent_are_named(
    handler: AgentHandler, local_gateway: LocalGateway, fields: dict[str, Any], said: str
) -> None:
    outcome = handler.execute(step(**fields))
    assert isinstance(outcome, Failed)
    assert outcome.error.code is ErrorCode.VALIDATION
    assert said in outcome.error.message
    assert local_gateway.runs() == []


def test_many_threads_share_one_handler(handler: AgentHandler, local_gateway: LocalGateway) -> None:
    def run(number: int) -> Any:
        ctx = replace(step(), path=f"p{number}", idempotency_key=f"{RUN}:p{number}", input={"n": number})
        outcome = handler.execute(ctx)
        assert isinstance(outcome, Succeeded)
        return outcome.output["output"]["n"]

    with ThreadPoolExecutor(30) as pool:
        assert sorted(pool.map(run, range(60))) == list(range(60))
    assert local_gateway.server.connections == 1
