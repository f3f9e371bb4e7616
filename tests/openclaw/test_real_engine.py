"""The whole engine against a real OpenClaw gateway: agent steps from the trigger to the end of the run.

Source: issue "Agents", what must be shown. Every test ends with a clean fsck.
"""

import itertools
import json
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.client import Client
from tests.openclaw.install import VERSION
from tests.support.openclaw import OpenClaw
from tests.support.polling import poll
from tests.support.up import Up

pytestmark = [pytest.mark.openclaw, pytest.mark.crash]
SYNC_SECONDS = 1
TOKENS = {"input": 1200, "output": 50}  # of tests.support.model.USAGE
PRICE = 381_000  # the same in microcents
PLACE = "claw"
HELD = {"pieces": ["half of ", "it"], "hold": True}


@pytest.fixture(scope="module")
def stack(_openclaw: OpenClaw, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(
        tmp_path_factory.mktemp("engine") / "data",
        ORCHESTRATOR_GATEWAY_SYNC_SECONDS=str(SYNC_SECONDS),
        ORCHESTRATOR_LEASE_SECONDS="3",
    )
    try:
        up.ready()
        yield up
    finally:
        up.end()


@pytest.fixture(scope="module")
def connected(stack: Up, _openclaw: OpenClaw) -> Iterator[Client]:
    """A client of an engine that knows the gateway, as its default."""
    key = (stack.data_dir / "admin.key").read_text().strip()
    with Client(stack.environ["ORCHESTRATOR_URL"], api_key=key) as client:
        client.gateways.create(PLACE, _openclaw.url, token=_openclaw.token, default=True)
        yield client


@pytest.fixture
def client(openclaw: OpenClaw, connected: Client, stack: Up) -> Iterator[Client]:
    """The gateway is up when a test begins, and every invariant holds when it ends."""
    assert openclaw.running
    yield connected
    openclaw.stub.release()
    sound = stack.command("fsck", "--json")
    assert json.loads(sound.stdout) == {"ok": True, "violations": []}, sound.stderr


def started(client: Client, *scripts: dict[str, Any], agent: str = "main", **trigger: Any) -> tuple[str, list[str]]:
    """A run of agent steps `s0 >> s1 >> …`, each told the text before it; its id, and what each one's prompt holds."""
    marks = [uuid.uuid4().hex[:12] for _ in scripts]
    nodes = []
    for number, (mark, script) in enumerate(zip(marks, scripts, strict=True)):
        before = f"Before you: {{{{s{number - 1}.text}}}}\n" if number else ""
        told = f"{before}@model {json.dumps({'name': mark, **script})}"
        task = {"title": f"Part {number}", "description": told}
        nodes.append({"id": f"s{number}", "type": "agent", "agent": agent, "task": task})
    name = f"asking-{marks[0]}"
    edges = [f"{one['id']} >> {other['id']}" for one, other in itertools.pairwise(nodes)]
    outputs = {"last": f"{{{{s{len(nodes) - 1}.text}}}}"}
    client.workflows.create({"name": name, "nodes": nodes, "edges": edges, "outputs": outputs})
    return client.runs.start(name, **trigger)["id"], marks


def called(openclaw: OpenClaw, mark: str) -> list[str | None]:
    """How the calls to the model ended that an agent step made."""
    return [call.ended for call in openclaw.stub.calls(mark)]


def at_work(openclaw: OpenClaw, mark: str) -> None:
    poll(lambda: called(openclaw, mark), 60, "the call to the model")


def parked(client: Client, run: str, step: str = "s0") -> None:
    poll(lambda: client.runs.step(run, step)["status"] == "waiting", 30, "the park")


def succeeded(client: Client, run: str, last: str) -> None:
    ended = client.runs.wait(run, timeout=120)
    assert (ended["status"], ended["outputs"]) == ("success", {"last": last}), ended["error"]


def kinds(client: Client, run: str) -> list[str]:
    return [event["type"] for event in client.runs.log(run)]


def session_of(run: str, step: str = "s0") -> str:
    return f"agent:main:wf-{run}-{step}-a1"


def test_the_gateway_is_healthy_and_lists_its_agents(client: Client) -> None:
    found = client.gateways.ping(PLACE)
    if found["status"] != "healthy":  # one that has just started can take longer than a ping waits
        poll(lambda: client.gateways.get(PLACE)["status"] == "healthy", 30, f"a healthy gateway, not {found}")
        found = client.gateways.ping(PLACE)
    assert (found["status"], found["version"]) == ("healthy", VERSION)
    assert "main" in (found["agents"] or [])
    shown = client.gateways.get(PLACE)
    assert (shown["status"], shown["default"], shown["has_token"]) == ("healthy", True, True)


def test_three_steps_in_a_row_end_with_text_usage_and_cost(openclaw: OpenClaw, client: Client) -> None:
    scripts = [{"pieces": ["first ", "words"]}, {"pieces": ["second words"]}, {"pieces": ['{"score"', ": 7}"]}]
    run, marks = started(client, *scripts)
    succeeded(client, run, '{"score": 7}')
    steps = list(client.runs.steps(run))
    assert [step["output"]["text"] for step in steps] == ["first words", "second words", '{"score": 7}']
    assert steps[2]["output"]["output"] == {"score": 7}
    said = {(step["agent"], step["model"], step["cost_microcents"]) for step in steps}
    assert said == {("main", "stub/scripted", PRICE)}
    assert [step["tokens"] for step in steps] == [TOKENS] * 3
    assert client.runs.get(run)["cost_microcents"] == 3 * PRICE
    for mark, before in zip(marks, ["Part 0", "first words", "second words"], strict=True):
        [call] = openclaw.stub.calls(mark)
        assert before in call.message


def test_what_an_agent_writes_is_on_the_stream_before_its_step_has_ended(openclaw: OpenClaw, client: Client) -> None:
    run, _ = started(client, HELD)
    heard, text = [], ""
    for event in client.runs.stream(run):
        heard.append(event["type"])
        if event["type"] == "stream.chunk":
            text += event["data"]["text"]
            if not openclaw.stub.calls()[-1].released.is_set():
                assert client.runs.step(run, "s0")["status"] in ("running", "waiting")
                openclaw.stub.release()
    assert text == "half of it"
    assert heard.index("stream.chunk") < heard.index("stream.done") < heard.index("step.completed")
    assert heard[-1] == "run.completed"
    succeeded(client, run, "half of it")


def test_an_aborted_run_stops_at_the_gateway(openclaw: OpenClaw, client: Client) -> None:
    run, [mark, after] = started(client, HELD, {})
    at_work(openclaw, mark)
    client.runs.abort(run, reason="enough")
    assert client.runs.wait(run, timeout=30)["status"] == "aborted"
    poll(lambda: called(openclaw, mark) == ["cut"], 15, "the end of the call to the model")
    poll(lambda: [row["status"] for row in openclaw.rows(session_of(run))] == ["cancelled"], 15, "the row's end")
    assert called(openclaw, after) == []


def test_a_long_step_parks_and_is_completed_by_its_end(openclaw: OpenClaw, client: Client) -> None:
    run, [mark] = started(client, HELD)
    at_work(openclaw, mark)
    parked(client, run)
    openclaw.stub.release()
    succeeded(client, run, "half of it")
    assert called(openclaw, mark) == ["whole"]
    assert kinds(client, run).count("step.waiting") == 1
    assert "step.resumed" not in kinds(client, run)
    assert client.runs.step(run, "s0")["tokens"] == TOKENS


@pytest.mark.parametrize("when", ["at work", "parked"])
def test_a_step_whose_worker_was_killed_is_found_again(
    openclaw: OpenClaw, client: Client, stack: Up, when: str
) -> None:
    """The process that would hear its end is gone: the end is looked up, and the model was called once."""
    run, [mark] = started(client, HELD)
    at_work(openclaw, mark)
    if when == "parked":
        parked(client, run)
    workers = [pid for name, pid in stack.pids().items() if name.startswith("worker")]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    openclaw.stub.release()
    succeeded(client, run, "half of it")
    assert called(openclaw, mark) == ["whole"]
    assert client.runs.step(run, "s0")["tokens"] == TOKENS


def test_a_gateway_that_restarts_loses_no_step_and_does_none_twice(openclaw: OpenClaw, client: Client) -> None:
    run, marks = started(client, HELD, {"pieces": ["afterwards"]})
    at_work(openclaw, marks[0])
    parked(client, run)
    openclaw.terminate()  # it lets the turn end
    openclaw.stub.release()
    openclaw.restart()
    succeeded(client, run, "afterwards")
    assert [called(openclaw, mark) for mark in marks] == [["whole"], ["whole"]]


def test_a_gateway_that_is_killed_takes_the_step_up_again(openclaw: OpenClaw, client: Client) -> None:
    run, [mark, after] = started(client, HELD | {"times": 1}, {"pieces": ["afterwards"]})
    at_work(openclaw, mark)
    openclaw.kill()
    openclaw.start()
    succeeded(client, run, "afterwards")
    assert (called(openclaw, mark), called(openclaw, after)) == (["cut", "whole"], ["whole"])


def test_an_agent_is_set_up_before_its_first_step(openclaw: OpenClaw, client: Client) -> None:
    name = f"scribe-{uuid.uuid4().hex[:8]}"
    files = {"SOUL.md": "You are {{agent.name}} and serve run {{run.id}}."}
    client.agents.register(name, "writer", gateway=PLACE, files=files)
    run, [mark] = started(client, {"pieces": ["brief"]}, agent=name)
    succeeded(client, run, "brief")
    [call] = openclaw.stub.calls(mark)
    assert f"You are {name} and serve run {run}." in str(call.request["messages"])
    assert name in (client.gateways.ping(PLACE)["agents"] or [])
