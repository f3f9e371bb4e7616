"""Runs, waits, the ledger and transcripts: the same frames from the local gateway and the real one."""

import uuid
from typing import Any

import pytest

from tests.support.either import Either
from tests.support.gateways import RawClient
from tests.support.polling import poll

READ = ["operator.read"]
TASK = {"taskId", "runId", "sessionKey", "agentId", "status", "createdAt", "startedAt"}


@pytest.fixture
def key() -> str:
    """Of a run and its session."""
    return f"run-{uuid.uuid4().hex[:10]}"


def rows(client: RawClient, key: str) -> list[dict[str, Any]]:
    found = client.ask("tasks.list", {"sessionKey": f"agent:main:{key}"})["payload"]["tasks"]
    assert isinstance(found, list)
    return found


def history(client: RawClient, key: str) -> list[dict[str, Any]]:
    found = client.ask("chat.history", {"sessionKey": f"agent:main:{key}", "limit": 20})["payload"]
    assert found["sessionKey"] == f"agent:main:{key}"
    return list(found["messages"])


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown property": (
        "agent",
        {"message": "x", "idempotencyKey": "k", "foo": 1},
        "invalid agent params: at root: unexpected property 'foo'",
    ),
    "a property that is missing": (
        "agent",
        {"message": "x"},
        "invalid agent params: must have required property 'idempotencyKey'",
    ),
    "a property of another type": (
        "agent",
        {"message": 5, "idempotencyKey": "k"},
        "invalid agent params: at /message: must be string",
    ),
    "a time below 0": (
        "agent",
        {"message": "x", "idempotencyKey": "k", "timeout": -1},
        "invalid agent params: at /timeout: must be >= 0",
    ),
    "a reserved property": (
        "agent",
        {"message": "x", "idempotencyKey": "k", "cwd": "/tmp"},
        "cwd is reserved for plugin-owned subagent runs",
    ),
    "another model": (
        "agent",
        {"message": "x", "idempotencyKey": "k", "model": "stub/scripted"},
        "provider/model overrides are not authorized for this caller.",
    ),
    "a session of another agent": (
        "agent",
        {"message": "x", "idempotencyKey": "k", "agentId": "main", "sessionKey": "agent:other:x"},
        "Multiple agents are configured, but session agent resolution has no explicit owner. "
        'The agent-scoped session key belongs to "other", not "main".',
    ),
    "agents.list": ("agents.list", {"x": 1}, "invalid agents.list params: at root: unexpected property 'x'"),
    "tasks.list": ("tasks.list", {"x": 1}, "invalid tasks.list params: at root: unexpected property 'x'"),
    "chat.history": (
        "chat.history",
        {"sessionKey": "agent:main:x", "x": 1},
        "invalid chat.history params: at root: unexpected property 'x'",
    ),
    "agent.wait": (
        "agent.wait",
        {"runId": "x", "x": 1},
        "invalid agent.wait params: at root: unexpected property 'x'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_params_are_strict(either: Either, case: str) -> None:
    method, params, message = REFUSED[case]
    answer = either.client().ask(method, params)
    assert (answer["ok"], answer["error"]) == (False, {"code": "INVALID_REQUEST", "message": message})


def test_a_command_of_the_session_takes_more_than_write(either: Either, key: str) -> None:
    error = either.client().ask("agent", either.params(key) | {"message": " /reset now"})["error"]
    assert (error["code"], error["message"]) == ("FORBIDDEN", "missing scope: operator.admin")
    assert error["details"]["missingScope"] == "operator.admin"


def test_an_unknown_method_is_known_as_such_to_an_admin_alone(either: Either) -> None:
    error = either.client().ask("tasks.execute", {})["error"]
    assert (error["code"], error["message"]) == ("FORBIDDEN", "missing scope: operator.admin")
    error = either.client(scopes=[*READ, "operator.admin"]).ask("tasks.execute", {})["error"]
    assert (error["code"], error["message"]) == ("INVALID_REQUEST", "unknown method: tasks.execute")


def test_a_frame_that_is_no_request_is_answered_where_it_has_an_id(either: Either) -> None:
    client = either.client()
    client.send("garbage")
    client.send({"jsonrpc": "2.0", "id": "x", "method": "health"})
    error = client.response("x")["error"]
    assert error["code"] == "INVALID_REQUEST"
    assert error["message"].startswith("invalid request frame: ")
    assert client.ask("health", {})["ok"]


def test_waiting_takes_the_scope_of_writing(either: Either) -> None:
    answer = either.client(scopes=READ).ask("agent.wait", {"runId": "x", "timeoutMs": 10})
    assert answer["error"]["details"]["missingScope"] == "operator.write"


def test_what_is_not_there(either: Either, key: str) -> None:
    client = either.client()
    session = f"agent:main:{key}"
    asked = {
        "agent.wait": ({"runId": key, "timeoutMs": 10}, {"runId": key, "status": "timeout"}),
        "tasks.list": ({"sessionKey": session}, {"tasks": []}),
        "sessions.abort": (
            {"key": session, "runId": key},
            {"ok": True, "abortedRunId": None, "status": "no-active-run"},
        ),
        "chat.abort": (
            {"sessionKey": session, "runId": key},
            {"ok": True, "aborted": False, "runIds": []},
        ),
    }
    assert {method: client.ask(method, params)["payload"] for method, (params, _) in asked.items()} == {
        method: payload for method, (_, payload) in asked.items()
    }
    assert history(client, key) == []


def test_a_run_is_accepted_and_answered_in_two_frames(either: Either, key: str) -> None:
    client = either.client()
    accepted, final = either.run(client, either.params(key, {"pieces": ["a word"]}))
    where = {"runId": key, "sessionKey": f"agent:main:{key}", "agentId": "main"}
    assert isinstance(accepted["payload"].pop("acceptedAt"), int)
    assert accepted["payload"] == where | {"status": "accepted"}
    assert (final["ok"], final["id"]) == (True, accepted["id"])
    payload = final["payload"]
    assert {name: payload[name] for name in ("runId", "status", "summary")} == {
        "runId": key,
        "status": "ok",
        "summary": "completed",
    }
    assert payload["result"]["payloads"] == [{"text": "a word", "mediaUrl": None}]
    meta = payload["result"]["meta"]
    assert isinstance(meta["durationMs"], int)
    assert meta["finalAssistantVisibleText"] == "a word"
    usage = meta["agentMeta"]["usage"]
    assert set(usage) == {"input", "output", "cacheRead", "cacheWrite", "total", "cost"}
    assert usage["cost"]["total"] == meta["agentMeta"]["costUsd"]
    assert {"provider", "model", "sessionId"} <= set(meta["agentMeta"])


def test_a_provider_that_tells_no_usage_leaves_it_out(either: Either, key: str) -> None:
    _, final = either.run(either.client(), either.params(key, {"usage": None}))
    assert not {"usage", "costUsd"} & set(final["payload"]["result"]["meta"]["agentMeta"])


def test_a_key_that_ended_is_answered_from_memory(either: Either, key: str) -> None:
    client = either.client()
    _, final = either.run(client, either.params(key))
    again = client.ask("agent", either.params("elsewhere") | {"idempotencyKey": key})
    assert again["payload"] == final["payload"]
    assert len(rows(client, key)) == 1


def test_a_run_that_goes_on(either: Either, key: str) -> None:
    client = either.client()
    params = either.params(key, {"pieces": ["half of ", "it"], "hold": True})
    id_ = client.request("agent", params)
    assert client.response(id_)["payload"]["status"] == "accepted"
    while not any(frame["payload"].get("stream") == "assistant" for frame in client.events):
        client.events.append(client.receive())
    [row] = rows(client, key)
    assert row["status"] == "running"
    assert set(row) >= TASK
    assert "endedAt" not in row
    waited = client.ask("agent.wait", {"runId": key, "timeoutMs": 10})["payload"]
    assert waited == {"runId": key, "status": "timeout"}
    again = client.ask("agent", params)["payload"]
    where = {"runId": key, "sessionKey": f"agent:main:{key}", "agentId": "main"}
    assert again == where | {"status": "in_flight"}
    stopped = client.ask("sessions.abort", {"key": f"agent:main:{key}", "runId": key})["payload"]
    assert stopped == {"ok": True, "abortedRunId": key, "status": "aborted"}
    final = client.response(id_)
    assert (final["ok"], final["payload"]) == (
        True,
        {"runId": key, "status": "timeout", "summary": "aborted", "stopReason": "rpc"},
    )
    waited = client.ask("agent.wait", {"runId": key, "timeoutMs": 1000})["payload"]
    assert {name: waited[name] for name in ("runId", "status", "stopReason")} == {
        "runId": key,
        "status": "error",
        "stopReason": "rpc",
    }
    assert isinstance(waited["endedAt"], int)
    [row] = poll(lambda: [row for row in rows(client, key) if row["status"] == "cancelled"], 10)
    assert row["endedAt"] >= row["startedAt"]


def test_a_run_that_waits_for_its_session_is_a_running_row_too(either: Either, key: str) -> None:
    """And is told apart by `execution`: a status `queued` is never seen."""
    client = either.client()
    client.ask("agent", either.params(key, {"hold": True}))
    client.ask("agent", either.params(f"{key}-2") | {"sessionKey": f"agent:main:{key}"})
    states = {"running": "running", "queued": "running"}
    found = poll(
        lambda: (
            seen
            if (seen := {row["execution"]["state"]: row["status"] for row in rows(client, key)}) == states
            else None
        ),
        20,
    )
    assert found == states
    for run in (f"{key}-2", key):
        client.ask("sessions.abort", {"key": f"agent:main:{key}", "runId": run})


FAILED: dict[str, tuple[dict[str, Any], dict[str, Any], bool, str, str]] = {
    "a provider that refuses": ({"status": 400}, {}, False, "error", "failed"),
    "no answer": ({"pieces": [""]}, {}, True, "error", "failed"),
    "time": ({"pieces": ["a", "b"], "hold": True}, {"timeout": 2}, True, "timeout", "timed_out"),
}


@pytest.mark.parametrize("case", FAILED)
def test_a_run_that_fails(either: Either, key: str, case: str) -> None:
    script, changes, ok, status, ledger = FAILED[case]
    client = either.client()
    _, final = either.run(client, either.params(key, script, **changes))
    payload = final["payload"]
    assert (final["ok"], payload["runId"], payload["status"]) == (ok, key, status)
    if ok:
        [said] = payload["result"]["payloads"]
        assert said["isError"] is True
        assert payload["summary"] == ("aborted" if status == "timeout" else "failed")
    else:
        assert final["error"] == {"code": "UNAVAILABLE", "message": payload["summary"]}
    if status == "timeout":
        assert (payload["timeoutPhase"], payload["providerStarted"]) == ("provider", True)
        assert "stopReason" not in payload
    waited = client.ask("agent.wait", {"runId": key, "timeoutMs": 1000})["payload"]
    assert (waited["status"], isinstance(waited["error"], str)) == (status, True)
    assert isinstance(waited["endedAt"], int)
    [row] = poll(lambda: [row for row in rows(client, key) if row["status"] != "running"], 10)
    assert row["status"] == ledger
    assert isinstance(row["terminalSummary"], str)
    assert isinstance(row["error"], str)


def test_a_long_reply_is_cut_for_those_who_wait(either: Either, key: str) -> None:
    client = either.client()
    _, final = either.run(client, either.params(key, {"pieces": ["x" * 6000]}))
    assert len(final["payload"]["result"]["payloads"][0]["text"]) == 6000
    waited = client.ask("agent.wait", {"runId": key, "timeoutMs": 1000})["payload"]
    assert waited["status"] == "ok"
    reply = waited["terminalReply"]
    assert (reply["disposition"], len(reply["text"])) == ("visible", 4096)


def test_the_row_of_a_run_that_ended(either: Either, key: str) -> None:
    client = either.client()
    either.run(client, either.params(key))
    [row] = poll(lambda: [row for row in rows(client, key) if row["status"] == "completed"], 10)
    session = f"agent:main:{key}"
    assert {name: row[name] for name in ("runId", "sessionKey", "agentId", "terminalSummary")} == {
        "runId": key,
        "sessionKey": session,
        "agentId": "main",
        "terminalSummary": "completed",
    }
    assert row["id"] == row["taskId"]
    assert row["execution"] == {"state": "finished"}
    assert row["createdAt"] <= row["startedAt"] <= row["endedAt"] <= row["updatedAt"]
    assert client.ask("tasks.list", {"sessionKey": session.upper()})["payload"]["tasks"] == []


def test_a_transcript(either: Either, key: str) -> None:
    client = either.client()
    either.run(client, either.params(key, {"pieces": ["a word"]}))
    said, answered = history(client, key)
    assert (said["role"], said["idempotencyKey"]) == ("user", f"{key}:user")
    assert said["content"].startswith("Task:\n")
    assert (answered["role"], answered["content"], answered["stopReason"]) == (
        "assistant",
        [{"type": "text", "text": "a word"}],
        "stop",
    )
    assert answered["__openclaw"]["runId"] == key
    assert {"provider", "model", "usage"} <= set(answered)
    assert {"input", "output", "cacheRead", "cacheWrite", "totalTokens", "cost"} == set(answered["usage"])
    assert "total" in answered["usage"]["cost"]


def test_keys_of_sessions_are_lower_case_and_name_their_agent(either: Either, key: str) -> None:
    client = either.client()
    for given in (f"Agent:Main:{key.upper()}", key.upper()):
        run = f"{key}-{given[0]}"
        accepted, _ = either.run(client, either.params(run) | {"sessionKey": given})
        assert accepted["payload"]["sessionKey"] == f"agent:main:{key}"
        assert accepted["payload"]["runId"] == run
