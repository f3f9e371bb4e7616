"""The agent node through the engine, over the real driver, at a real gateway: keys, sessions, the prompt, stops."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.database import Database
from orchestrator.core.routing import Wanted
from orchestrator.handlers.agent import AgentHandler
from orchestrator.ports import Parked, Parts, StepContext, Task
from orchestrator.services import runs, stops, vault
from orchestrator.settings import Settings
from tests.support import attempts
from tests.support.contexts import context
from tests.support.desk import SETTINGS, Office, office, step
from tests.support.gateways import TOKEN, LocalGateway
from tests.support.polling import poll
from tests.support.probes import NAME, ends

Hired = Callable[..., Office]


@pytest.fixture
def hired(database: Database, local_gateway: LocalGateway) -> Iterator[Hired]:
    """`hired(*nodes, **fields)`: an engine whose agents are at the local gateway, by its real driver."""
    made: list[Office] = []

    def new(*nodes: dict[str, Any], settings: Settings = SETTINGS, **fields: Any) -> Office:
        found = office(database, *nodes, settings=settings, **fields)
        del vars(found.engine.deps)["gateways"]
        address = local_gateway.address
        sealed = vault.seal(settings, TOKEN)
        found.gateway(kind="openclaw", url=address.url, token=sealed, is_default=True)
        made.append(found)
        return found

    yield new
    for found in made:
        for driver in found.engine.deps.gateways.values():
            driver.close()


def asking(node_id: str = "a", script: Any = None, **fields: Any) -> dict[str, Any]:
    """A step of the agent `echo`, which answers its input; or does as its script says."""
    said = {} if script is None else {"task": {"description": f"@gateway {json.dumps(script)}"}}
    return step(node_id, agent="echo", **said, **fields)


def test_the_answer_is_the_output(hired: Hired) -> None:
    ours = hired(asking())
    run_id = ours.engine.run(NAME, inputs={"lead": "Ada"})
    ends(ours.engine, run_id, "success")
    row = attempts.attempts(ours.engine, run_id, "a")[0]
    assert row.output["output"] == {"lead": "Ada"}
    assert json.loads(row.output["text"]) == {"lead": "Ada"}
    assert set(row.output) == {"text", "output", "usage", "model"}
    assert row.agent == "echo"
    assert row.tokens_in is not None


def test_the_prompt_begins_with_our_words_and_ends_with_the_input(
    hired: Hired, local_gateway: LocalGateway
) -> None:
    description = "Look at it.\nTwice."
    task = {
        "title": "/reset everything",
        "description": description,
        "priority": "high",
        "tags": ["a", "b"],
    }
    ours = hired(step(agent="echo", task=task))
    run_id = ours.engine.run(NAME, inputs={"lead": "Ada"})
    ends(ours.engine, run_id, "success")
    told = local_gateway.history(f"agent:echo:wf-{run_id}-a-a1")[0]["content"]
    assert told == (
        "Task:\n/reset everything\n\nLook at it.\nTwice.\n\nPriority: high\n\nTags: a, b\n\n"
        'Input:\n{"lead":"Ada"}'
    )


def test_step_data_cannot_script_the_gateway(hired: Hired) -> None:
    ours = hired(asking())
    run_id = ours.engine.run(NAME, inputs={"note": 'x\n@gateway {"fail": "model"}\n'})
    ends(ours.engine, run_id, "success")


def test_each_attempt_has_a_key_and_a_session_of_its_own(hired: Hired, local_gateway: LocalGateway) -> None:
    retry = {"max_attempts": 2, "initial": 0, "jitter": 0}
    ours = hired(asking(script={"fail": "model", "times": 1}, retry=retry))
    run_id = ours.engine.run(NAME)
    ours.sweep()
    ends(ours.engine, run_id, "success")
    first = attempts.attempts(ours.engine, run_id, "a")[0]
    assert first.error["code"] == "LLM_DOWN"
    rows = {row["runId"]: row["sessionKey"] for row in local_gateway.runs()}
    assert rows == {
        f"{run_id}:a:1": f"agent:echo:wf-{run_id}-a-a1",
        f"{run_id}:a:2": f"agent:echo:wf-{run_id}-a-a2",
    }


@pytest.mark.parametrize(("session", "rest"), [("run", ""), ("review", "-session-review")])
def test_a_session_can_be_kept(hired: Hired, local_gateway: LocalGateway, session: str, rest: str) -> None:
    nodes = [asking(name, session=session) for name in ("a", "b")]
    ours = hired(*nodes, edges=["a >> b"])
    run_id = ours.engine.run(NAME)
    ends(ours.engine, run_id, "success")
    assert len(local_gateway.runs(f"agent:echo:wf-{run_id}{rest}")) == 2


def test_paths_that_differ_in_case_only_do_not_share_a_session(
    hired: Hired, local_gateway: LocalGateway
) -> None:
    each = {"id": "each", "type": "parallel", "count": 1, "body": {"nodes": [asking("draft")]}}
    ours = hired(asking("Draft"), asking("draft"), each)
    run_id = ours.engine.run(NAME)
    ends(ours.engine, run_id, "success")
    keys = {row["sessionKey"] for row in local_gateway.runs()}
    assert len(keys) == 3
    assert all(key == key.lower() for key in keys)


def test_a_key_of_the_steps_own_stays_in_its_workspace(hired: Hired, local_gateway: LocalGateway) -> None:
    ids = []
    for _ in range(2):
        ours = hired(asking(idempotency_key="order-7-sign"))
        run_id = ours.engine.run(NAME, inputs={"of": ours.engine.actor.workspace_id})
        ends(ours.engine, run_id, "success")
        found = attempts.attempts(ours.engine, run_id, "a")[0].output["output"]
        assert found == {"of": ours.engine.actor.workspace_id}
        ids.append(f"{ours.engine.actor.workspace_id}:order-7-sign:1")
    assert {row["runId"] for row in local_gateway.runs()} == set(ids)


def test_an_aborted_run_ends_at_the_gateway(hired: Hired, local_gateway: LocalGateway) -> None:
    ours = hired(asking(script={"hang": True}), settings=_QUICK)
    run_id = ours.engine.run(NAME)
    assert ours.engine.statuses(run_id) == {"a": "waiting"}
    ours.engine.send(runs.abort(ours.engine.deps, ours.engine.actor, run_id, "enough"))
    for effect in ours.engine.stops:
        assert stops.carry_out(ours.engine.deps, effect.outbox_id)
    poll(lambda: [row["status"] for row in local_gateway.runs()] == ["cancelled"])
    ends(ours.engine, run_id, "aborted")


def test_parked_work_is_found_when_it_is_looked_up(hired: Hired, local_gateway: LocalGateway) -> None:
    ours = hired(asking(script={"delay": 0.3, "reply": {"found": True}}), settings=_QUICK)
    run_id = ours.engine.run(NAME)
    poll(lambda: [row["status"] for row in local_gateway.runs()] == ["completed"])
    found = ours.engine.deps.agents.answer(_parked(ours, run_id))
    assert found is not None
    assert found.output["output"] == {"found": True}


_QUICK = Settings(secret_key=SETTINGS.secret_key, gateway_sync_seconds=0.05)


def _parked(ours: Office, run_id: str) -> Parked:
    return Parked(
        run_id=run_id,
        workspace_id=ours.engine.actor.workspace_id,
        no=0,
        path="a",
        attempt=1,
        idempotency_key=f"{run_id}:a",
    )


def test_many_threads_share_one_driver(hired: Hired) -> None:
    ours = hired(asking())
    run_ids = [ours.engine.start(NAME, inputs={"n": number}) for number in range(20)]
    messages, ours.engine.inbox = [message for message, _ in ours.engine.inbox], []
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(ours.engine.carrier.carry, messages))
    for number, run_id in enumerate(run_ids):
        ends(ours.engine, run_id, "success")
        found = attempts.attempts(ours.engine, run_id, "a")[0].output["output"]
        assert found == {"n": number}


class Listener:
    """`ports.Agents` that only listens."""

    def __init__(self) -> None:
        self.asked: list[tuple[Wanted, Task, str]] = []

    def dispatch(self, ctx: StepContext, wanted: Wanted, task: Task, session: str) -> Any:
        self.asked.append((wanted, task, session))
        return None

    def answer(self, parked: Parked) -> None:
        return None

    def stop(self, run_id: str, no: int, attempt: int) -> None:
        raise NotImplementedError


def handler() -> tuple[AgentHandler, Listener]:
    listener = Listener()
    parts: Any = Parts(settings=Settings(), agents=listener, outbound=None)  # type: ignore[arg-type]
    return AgentHandler(parts), listener


def asked(**fields: Any) -> StepContext:
    return context(fields, type="agent")


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"agent": "Ada"}, Wanted(agent="ada")),
        ({"role": "judge"}, Wanted(role="judge")),
        ({"capabilities": ["tax", "law", "tax"]}, Wanted(capabilities=("law", "tax"))),
        ({"role": "judge", "capabilities": ["law"]}, Wanted(role="judge", capabilities=("law",))),
    ],
)
def test_whom_a_node_asks_for(fields: dict[str, Any], wanted: Wanted) -> None:
    own, listener = handler()
    own.execute(asked(**fields, session="review"))
    assert listener.asked == [(wanted, Task(title="step"), "review")]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"agent": 7}, "is no name"),
        ({"agent": ""}, "is no name"),
        ({"role": "x" * 300}, "is no name"),
        ({"capabilities": "law"}, "no list of names"),
        ({"capabilities": [7]}, "is no name"),
        ({"session": ["x"]}, "is no name"),
        ({"task": {"titel": "x"}}, "'titel'"),
        ({"task": {"tags": "a"}}, "task.tags"),
        ({"task": {"title": ["x"]}}, "task.title"),
    ],
)
def test_fields_that_cannot_be_sent_are_named(fields: dict[str, Any], said: str) -> None:
    own, listener = handler()
    outcome: Any = own.execute(asked(**{"agent": "ada"} | fields))
    assert outcome.error.code == "VALIDATION"
    assert said in outcome.error.message
    assert listener.asked == []
