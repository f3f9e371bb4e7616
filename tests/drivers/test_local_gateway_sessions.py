"""Sessions, transcripts and events of the local gateway: spec "gateway" §4 and §5."""

import json
from collections.abc import Callable

import pytest

from tests.support.gateways import SCOPES, LocalGateway, RawClient, run_params

Raw = Callable[..., RawClient]


def test_session_keys_are_made_canonical(raw_client: RawClient, raw: Raw) -> None:
    bare = raw_client.ask("agent", run_params("bare", sessionKey="Bare"))["payload"]
    assert bare["sessionKey"] == "agent:echo:bare"
    without = run_params("none")
    del without["sessionKey"], without["agentId"]
    assert (
        raw_client.response(raw_client.request("agent", without))["payload"]["sessionKey"]
        == "agent:main:main"
    )
    other = raw(raw_client.address)
    other.connect()
    wrong = other.ask("agent", run_params("wrong", sessionKey="agent:other:x"))["error"]
    assert wrong["message"].endswith('session key belongs to "other", not "echo".')
    upper = other.ask("tasks.list", {"sessionKey": "agent:echo:BARE"})["payload"]["tasks"]
    assert upper == []


def test_the_transcript_holds_text_cost_and_run(raw_client: RawClient) -> None:
    id_ = raw_client.request("agent", run_params("told", '@gateway {"reply": {"a": 1}}'))
    raw_client.response(id_)
    raw_client.response(id_)
    asked, told = raw_client.ask("chat.history", {"sessionKey": "agent:echo:told"})["payload"]["messages"]
    assert asked["idempotencyKey"] == "run:told:1:user"
    assert told["__openclaw"]["runId"] == "run:told:1"
    assert json.loads(told["content"][0]["text"]) == {"a": 1}
    assert told["usage"]["cost"]["total"] > 0


def test_commands_to_the_session_are_forbidden(raw_client: RawClient) -> None:
    assert raw_client.ask("agent", run_params("cmd", "  /reset all"))["error"]["code"] == "FORBIDDEN"


def test_events_reach_readers_unless_scoped_to_sessions(local_gateway: LocalGateway, raw: Raw) -> None:
    every, scoped, named = (raw(local_gateway.address) for _ in range(3))
    every.connect()
    scoped.connect(caps=["session-scoped-events"])
    named.connect(caps=["session-scoped-events"])
    assert named.ask("sessions.messages.subscribe", {"key": "agent:echo:ev"})["ok"]
    id_ = every.request("agent", run_params("ev", '@gateway {"stream": ["one ", "two"]}'))
    every.response(id_)
    every.response(id_)
    for client in (scoped, named):
        client.ask("health", {})
    said = [
        event["payload"]["data"] for event in every.events if event["payload"].get("stream") == "assistant"
    ]
    assert [(data["text"], data["delta"]) for data in said] == [("one ", "one "), ("one two", "two")]
    assert {event["event"] for event in scoped.events} == {"task"}
    assert {event["event"] for event in named.events} == {"task", "agent", "chat"}
    seqs = [event["seq"] for event in every.events]
    assert seqs == sorted(set(seqs))


def told(client: RawClient) -> list[str]:
    """What a client heard of runs, in order: `stream:detail`."""
    found = []
    for frame in client.events:
        payload = frame["payload"]
        match frame["event"]:
            case "agent":
                data = payload["data"]
                found.append(f"{payload['stream']}:{data.get('phase') or data.get('delta') or data}")
            case "chat":
                found.append(f"chat:{payload['state']}")
            case "task":
                found.append(f"task:{payload['task']['status']}")
    return found


def test_events_come_in_the_order_of_the_real_gateway(raw_client: RawClient) -> None:
    usage = {"input": 5, "output": 40}
    message = "@gateway " + json.dumps({"stream": ["one ", "two"], "usage": usage})
    assert raw_client.run(run_params("order", message))["ok"]
    assert told(raw_client) == [
        "task:running",
        "lifecycle:start",
        "lifecycle:model",
        "assistant:one ",
        "chat:delta",
        "assistant:two",
        "chat:delta",
        "usage:{'outputTokens': 40}",
        "lifecycle:finishing",
        "lifecycle:model",
        "lifecycle:end",
        "chat:final",
        "task:completed",
    ]
    payloads = [event["payload"] for event in raw_client.events]
    seqs = [payload["seq"] for payload in payloads if "stream" in payload]
    assert seqs == list(range(1, len(seqs) + 1))
    assert {payload["sessionId"] for payload in payloads if "stream" in payload} != {None}
    deltas = [payload["deltaText"] for payload in payloads if payload.get("state") == "delta"]
    assert deltas == ["one ", "two"]
    final = next(payload for payload in payloads if payload.get("state") == "final")
    assert final["message"]["content"] == [{"type": "text", "text": "one two"}]


def test_tokens_are_told_while_a_stream_pauses(raw_client: RawClient) -> None:
    directive = {"stream": ["half", "half"], "pause": 0.01, "usage": {"input": 1, "output": 10}}
    assert raw_client.run(run_params("meter", "@gateway " + json.dumps(directive)))["ok"]
    tokens = [said for said in told(raw_client) if said.startswith("usage")]
    assert tokens == [f"usage:{{'outputTokens': {count}}}" for count in (5, 10, 10)]


def test_tokens_that_are_not_known_are_not_told(raw_client: RawClient) -> None:
    raw_client.run(run_params("dark", '@gateway {"stream": ["a"], "pause": 0.01, "usage": null}'))
    assert not [said for said in told(raw_client) if said.startswith("usage")]


def test_after_an_abort_a_second_end_counts_from_one(raw_client: RawClient) -> None:
    id_ = raw_client.request(
        "agent", run_params("gone", '@gateway {"stream": ["a", "b"], "pause": 0.01, "hang": true}')
    )
    raw_client.response(id_)
    while "assistant:b" not in told(raw_client):
        raw_client.events.append(raw_client.receive())
    aborted = raw_client.ask("sessions.abort", {"key": "agent:echo:gone", "runId": "run:gone:1"})
    assert aborted["payload"]["abortedRunId"] == "run:gone:1"
    assert raw_client.response(id_)["payload"]["stopReason"] == "rpc"
    assert told(raw_client)[-4:] == ["lifecycle:end", "chat:aborted", "task:cancelled", "lifecycle:error"]
    assert raw_client.events[-1]["payload"]["seq"] == 1


def test_a_failure_is_told_too(raw_client: RawClient) -> None:
    raw_client.run(run_params("bad", '@gateway {"fail": "model"}'))
    assert told(raw_client)[-3:] == ["lifecycle:error", "chat:error", "task:failed"]


@pytest.fixture
def admin(local_gateway: LocalGateway, raw: Raw) -> RawClient:
    client = raw(local_gateway.address)
    client.connect(scopes=[*SCOPES, "operator.admin"])
    return client


@pytest.mark.parametrize("command", ["/new", "  /reset and more"])
def test_an_admin_may_begin_a_session_anew(admin: RawClient, command: str) -> None:
    key = "agent:echo:long"
    admin.run(run_params("one", sessionKey=key))
    before = admin.ask("sessions.describe", {"key": key})["payload"]["session"]["sessionId"]
    final = admin.run(run_params("two", command, sessionKey=key))
    assert "New session started" in final["payload"]["result"]["payloads"][0]["text"]
    assert admin.ask("chat.history", {"sessionKey": key})["payload"]["messages"] == []
    assert admin.ask("sessions.describe", {"key": key})["payload"]["session"]["sessionId"] != before


def test_a_session_says_what_it_used_and_what_goes_on(raw_client: RawClient) -> None:
    usage = {"input": 10, "output": 2, "cost": 0.5}
    key = {"key": "agent:echo:Row"}
    assert raw_client.ask("sessions.describe", key)["payload"] == {"session": None}
    raw_client.run(run_params("row", "@gateway " + json.dumps({"usage": usage})))
    row = raw_client.ask("sessions.describe", key)["payload"]["session"]
    assert (row["inputTokens"], row["outputTokens"], row["estimatedCostUsd"]) == (10, 2, 0.5)
    assert (row["hasActiveRun"], row["lastRunId"], row["abortedLastRun"]) == (False, "run:row:1", False)
    raw_client.response(
        raw_client.request("agent", run_params("row", '@gateway {"hang": true}', idempotencyKey="b"))
    )
    assert raw_client.ask("sessions.describe", key)["payload"]["session"]["activeRunIds"] == ["b"]


def test_a_session_is_deleted_with_what_goes_on_in_it(admin: RawClient) -> None:
    id_ = admin.request("agent", run_params("del", '@gateway {"hang": true}'))
    admin.response(id_)
    deleted = admin.ask("sessions.delete", {"key": "agent:echo:DEL"})["payload"]
    assert (deleted["ok"], deleted["deleted"]) == (True, True)
    assert admin.response(id_)["payload"]["stopReason"] == "rpc"
    assert admin.ask("chat.history", {"sessionKey": "agent:echo:del"})["payload"]["messages"] == []
    rows = admin.ask("tasks.list", {"sessionKey": "agent:echo:del"})["payload"]["tasks"]
    assert [row["status"] for row in rows] == ["cancelled"]
    assert admin.ask("sessions.delete", {"key": "agent:echo:del"})["payload"]["deleted"] is False


def test_deletion_needs_admin(raw_client: RawClient) -> None:
    error = raw_client.ask("sessions.delete", {"key": "agent:echo:x"})["error"]
    assert error["details"]["missingScope"] == "operator.admin"


def test_a_task_is_cancelled_by_its_id(raw_client: RawClient) -> None:
    id_ = raw_client.request("agent", run_params("task", '@gateway {"hang": true}'))
    raw_client.response(id_)
    listed = {"sessionKey": "agent:echo:task", "status": ["running", "queued"]}
    (row,) = raw_client.ask("tasks.list", listed)["payload"]["tasks"]
    cancelled = raw_client.ask("tasks.cancel", {"taskId": row["taskId"], "reason": "enough"})["payload"]
    assert (cancelled["found"], cancelled["cancelled"]) == (True, True)
    assert raw_client.response(id_)["payload"]["stopReason"] == "rpc"
    assert raw_client.ask("tasks.get", {"taskId": row["taskId"]})["payload"]["task"]["status"] == "cancelled"
    assert raw_client.ask("tasks.list", listed)["payload"]["tasks"] == []
    assert raw_client.ask("tasks.cancel", {"taskId": "none"})["payload"]["found"] is False
    assert "not found" in raw_client.ask("tasks.get", {"taskId": "none"})["error"]["message"]
