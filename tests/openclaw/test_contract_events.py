"""Events of runs: the same from the local gateway and the real one."""

import uuid
from typing import Any

import pytest

from tests.support.either import Either
from tests.support.gateways import RawClient

SCOPED = ["session-scoped-events"]


@pytest.fixture
def key() -> str:
    """Of a run and its session."""
    return f"run-{uuid.uuid4().hex[:10]}"


def of_run(client: RawClient, event: str, key: str) -> list[dict[str, Any]]:
    """The payloads of a run's events that came so far, in their order."""
    client.ask("health", {})
    return [
        frame["payload"]
        for frame in client.events
        if frame["event"] == event and frame["payload"].get("runId") == key
    ]


def streamed(either: Either, key: str, caps: list[str], *, subscribe: bool) -> RawClient:
    client = either.client(caps=caps)
    if subscribe:
        params = {"key": f"agent:main:{key}"}
        answer = client.ask("sessions.messages.subscribe", params)["payload"]
        assert answer == {"subscribed": True, "key": f"agent:main:{key}"}
    _, final = either.run(client, either.params(key, {"pieces": ["one ", "two ", "three"]}))
    assert final["payload"]["result"]["payloads"][0]["text"] == "one two three"
    return client


@pytest.mark.parametrize("caps", [[], SCOPED])
def test_a_streamed_run(either: Either, key: str, caps: list[str]) -> None:
    client = streamed(either, key, caps, subscribe=caps == SCOPED)
    events = of_run(client, "agent", key)
    numbers = [event["seq"] for event in events]
    assert numbers == sorted(set(numbers))
    assert {(event["sessionKey"], event["agentId"]) for event in events} == {(f"agent:main:{key}", "main")}
    steps = [event["data"].get("phase", event["stream"]) for event in events]
    order = [step for step, before in zip(steps, [None, *steps], strict=False) if step != before]
    assert order == ["start", "model", "assistant", "usage", "finishing", "model", "end"]
    said = ""
    for event in events:
        if event["stream"] == "assistant":
            said += event["data"]["delta"]
            assert event["data"]["text"] == said
            assert isinstance(event["data"]["itemId"], str)
    assert said == "one two three"
    [usage] = [event["data"] for event in events if event["stream"] == "usage"]
    assert isinstance(usage["outputTokens"], int)


def test_chat_events_of_a_streamed_run(either: Either, key: str) -> None:
    events = of_run(streamed(either, key, [], subscribe=False), "chat", key)
    assert [event["state"] for event in events][-1] == "final"
    assert {event["state"] for event in events[:-1]} == {"delta"}
    assert "".join(event["deltaText"] for event in events[:-1]) == "one two three"
    assert events[-1]["message"]["content"] == [{"type": "text", "text": "one two three"}]


def test_task_events_of_a_run(either: Either, key: str) -> None:
    client = streamed(either, key, SCOPED, subscribe=False)
    client.ask("health", {})
    tasks = [
        frame["payload"]
        for frame in client.events
        if frame["event"] == "task" and frame["payload"]["task"]["runId"] == key
    ]
    assert {task["action"] for task in tasks} == {"upserted"}
    assert [tasks[0]["task"]["status"], tasks[-1]["task"]["status"]] == ["running", "completed"]


def test_who_did_not_subscribe_hears_no_word(either: Either, key: str) -> None:
    client = streamed(either, key, SCOPED, subscribe=False)
    assert of_run(client, "agent", key) == of_run(client, "chat", key) == []


def test_after_unsubscribing_no_word_is_heard(either: Either, key: str) -> None:
    client = streamed(either, key, SCOPED, subscribe=True)
    answer = client.ask("sessions.messages.unsubscribe", {"key": f"agent:main:{key}"})["payload"]
    assert answer == {"subscribed": False, "key": f"agent:main:{key}"}
    client.events.clear()
    again = either.params(f"{key}-2") | {"sessionKey": f"agent:main:{key}"}
    either.run(client, again)
    assert of_run(client, "agent", f"{key}-2") == []


def test_an_abort_is_told_by_two_ends_the_second_numbered_anew(either: Either, key: str) -> None:
    client = either.client()
    id_ = client.request("agent", either.params(key, {"pieces": ["half of ", "it"], "hold": True}))
    client.response(id_)
    while not any(frame["payload"].get("stream") == "lifecycle" for frame in client.events):
        frame = client.receive()
        client.events.append(frame)
    client.ask("sessions.abort", {"key": f"agent:main:{key}", "runId": key})
    client.response(id_)
    ends: list[tuple[str, bool]] = []
    while [phase for phase, _ in ends] != ["end", "error"]:
        frame = client.receive()
        client.events.append(frame)
        events = [event for event in _agent(client, key) if event["data"].get("phase") in ("end", "error")]
        ends = [(event["data"]["phase"], event["seq"] == 1) for event in events]
    assert ends == [("end", False), ("error", True)]
    states = [frame["payload"]["state"] for frame in client.events if frame["event"] == "chat"]
    assert states[-1] == "aborted"


def _agent(client: RawClient, key: str) -> list[dict[str, Any]]:
    return [
        frame["payload"]
        for frame in client.events
        if frame["type"] == "event" and frame["event"] == "agent" and frame["payload"].get("runId") == key
    ]
