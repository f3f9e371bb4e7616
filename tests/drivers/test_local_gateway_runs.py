"""Runs of the local gateway, from the request to the last answer: spec "gateway" §4 and §7."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.gateway.kept import Kept
from tests.support.gateways import LocalGateway, RawClient, run_params, state_of
from tests.support.polling import poll

Raw = Callable[..., RawClient]


def test_params_are_strict_and_methods_known(raw_client: RawClient) -> None:
    extra = raw_client.ask("agent", run_params("a", foo=1))["error"]
    assert extra["message"] == "invalid agent params: at root: unexpected property 'foo'"
    reserved = raw_client.ask("agent", run_params("a", cwd="/"))["error"]
    assert reserved["message"] == "cwd is reserved for plugin-owned subagent runs"
    missing = raw_client.ask("agent", {"message": "x"})["error"]
    assert missing["message"] == "invalid agent params: must have required property 'idempotencyKey'"
    odd = raw_client.ask("agent", run_params("a", timeout=True))["error"]
    assert odd["message"] == "invalid agent params: at /timeout: must be integer"


def test_what_is_no_request_is_answered_where_it_can_be(raw_client: RawClient) -> None:
    raw_client.send("garbage")
    raw_client.send([])
    raw_client.send({"jsonrpc": "2.0", "id": "x", "method": "health"})
    assert raw_client.response("x")["error"]["message"].startswith("invalid request frame")
    assert raw_client.ask("health", {})["ok"]


def test_a_run_answers_twice_and_its_id_is_the_key(raw_client: RawClient) -> None:
    id_ = raw_client.request("agent", run_params("Two", sessionKey="agent:echo:TWO"))
    accepted, final = raw_client.response(id_), raw_client.response(id_)
    assert accepted["payload"]["status"] == "accepted"
    assert accepted["payload"]["runId"] == final["payload"]["runId"] == "run:Two:1"
    assert accepted["payload"]["sessionKey"] == "agent:echo:two"
    assert final["payload"]["status"] == "ok"
    assert final["payload"]["summary"] == "completed"
    assert final["payload"]["result"]["payloads"] == [{"text": "hello", "mediaUrl": None}]
    meta = final["payload"]["result"]["meta"]["agentMeta"]
    assert meta["usage"]["cost"]["total"] == meta["costUsd"] > 0


def test_a_key_again_is_in_flight_then_the_cached_answer(raw_client: RawClient) -> None:
    slow = run_params("again", '@gateway {"delay": 0.2}')
    first = raw_client.request("agent", slow)
    assert raw_client.response(first)["payload"]["status"] == "accepted"
    assert raw_client.ask("agent", slow)["payload"]["status"] == "in_flight"
    final = raw_client.response(first)
    replay = raw_client.ask("agent", run_params("again", "another message"))
    assert replay["payload"] == final["payload"]


def test_errors_are_cached_too(raw_client: RawClient) -> None:
    failing = run_params("bad", '@gateway {"fail": "model"}')
    id_ = raw_client.request("agent", failing)
    raw_client.response(id_)
    final = raw_client.response(id_)
    assert final["ok"] is False
    assert final["payload"]["status"] == "error"
    assert final["error"]["code"] == "UNAVAILABLE"
    again = raw_client.ask("agent", run_params("bad", "well now"))
    assert again["error"] == final["error"]


@pytest.mark.parametrize(
    ("directive", "ok", "status", "summary"),
    [
        ('{"fail": "empty"}', True, "error", "failed"),
        ('{"timeout": true}', True, "timeout", "aborted"),
    ],
)
def test_other_ends(raw_client: RawClient, directive: str, ok: bool, status: str, summary: str) -> None:
    id_ = raw_client.request("agent", run_params("end", "@gateway " + directive))
    raw_client.response(id_)
    final = raw_client.response(id_)
    assert (final["ok"], final["payload"]["status"], final["payload"]["summary"]) == (ok, status, summary)
    assert final["payload"]["result"]["payloads"][0]["isError"] is True
    waited = raw_client.ask("agent.wait", {"runId": "run:end:1"})["payload"]
    assert (waited["status"], "endedAt" in waited) == (status, True)


def test_the_time_limit_of_a_run_holds(raw_client: RawClient) -> None:
    id_ = raw_client.request("agent", run_params("late", '@gateway {"hang": true}', timeout=0))
    raw_client.response(id_)
    assert raw_client.response(id_)["payload"]["status"] == "timeout"


def test_runs_of_one_session_wait_for_each_other(raw_client: RawClient) -> None:
    one = run_params("s1", '@gateway {"hang": true}', sessionKey="agent:echo:shared")
    two = run_params("s2", sessionKey="agent:echo:shared")
    first, second = raw_client.request("agent", one), raw_client.request("agent", two)
    assert raw_client.response(first)["payload"]["status"] == "accepted"
    assert raw_client.response(second)["payload"]["status"] == "accepted"
    rows = raw_client.ask("tasks.list", {"sessionKey": "agent:echo:shared"})["payload"]["tasks"]
    assert [state_of(row) for row in rows] == ["queued", "running"]
    assert {row["status"] for row in rows} == {"running"}
    running = {"sessionKey": "agent:echo:shared", "status": "running"}
    assert len(raw_client.ask("tasks.list", running)["payload"]["tasks"]) == 2
    raw_client.request("sessions.abort", {"key": "agent:echo:shared", "runId": "run:s1:1"})
    ended = {frame["id"]: frame["payload"].get("status") for frame in _responses(raw_client, 3)}
    assert (ended[first], ended[second]) == ("timeout", "ok")


def test_no_more_runs_at_once_than_allowed(raw: Raw, gateways: Callable[..., LocalGateway]) -> None:
    gateway = gateways(most=2)
    client = raw(gateway.address)
    client.connect(caps=["session-scoped-events"])
    for number in range(4):
        client.request("agent", run_params(f"cap{number}", '@gateway {"hang": true}'))
    poll(lambda: len(gateway.runs()) == 4)
    states = [state_of(row) for row in gateway.runs()]
    assert sorted(states) == ["queued", "queued", "running", "running"]


@pytest.mark.parametrize("method", ["sessions.abort", "chat.abort"])
def test_an_abort_ends_what_runs_and_what_waits(raw_client: RawClient, method: str) -> None:
    key = "agent:echo:abort"
    first = raw_client.request("agent", run_params("a1", '@gateway {"hang": true}', sessionKey=key))
    second = raw_client.request("agent", run_params("a2", '@gateway {"hang": true}', sessionKey=key))
    raw_client.response(first)
    raw_client.response(second)
    name = "key" if method == "sessions.abort" else "sessionKey"
    raw_client.request(method, {name: key})
    finals = _responses(raw_client, 3)
    aborted = [frame["payload"] for frame in finals if frame["payload"].get("summary") == "aborted"]
    assert len(aborted) == 2
    assert all(payload["status"] == "timeout" and payload["stopReason"] == "rpc" for payload in aborted)
    waited = raw_client.ask("agent.wait", {"runId": "run:a1:1", "timeoutMs": 1})["payload"]
    assert (waited["status"], waited["stopReason"]) == ("error", "rpc")
    assert raw_client.ask("sessions.abort", {"key": key})["payload"]["status"] == "no-active-run"


def _responses(client: RawClient, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        frame = client.receive()
        if frame["type"] == "res":
            found.append(frame)
    return found


def test_wait_tells_no_usage_and_cuts_the_text(raw_client: RawClient) -> None:
    id_ = raw_client.request("agent", run_params("long", '@gateway {"size": 20000}'))
    raw_client.response(id_)
    assert len(raw_client.response(id_)["payload"]["result"]["payloads"][0]["text"]) == 20_000
    waited = raw_client.ask("agent.wait", {"runId": "run:long:1", "timeoutMs": 1000})["payload"]
    assert waited["status"] == "ok"
    assert len(waited["terminalReply"]["text"]) == 4096
    assert "usage" not in waited
    assert waited["endedAt"] >= waited["startedAt"]


def test_wait_for_an_unknown_run_looks_like_one_that_goes_on(raw_client: RawClient) -> None:
    waited = raw_client.ask("agent.wait", {"runId": "nobody", "timeoutMs": 20})["payload"]
    assert waited == {"runId": "nobody", "status": "timeout"}


def test_a_directive_that_is_wrong_is_refused(raw_client: RawClient) -> None:
    for directive in ('{"delay": "long"}', '{"fail": "so"}', '{"unknown": 1}', "[]", "{"):
        error = raw_client.ask("agent", run_params("d", "@gateway " + directive))["error"]
        assert "@gateway directive" in error["message"]


def test_the_demo_agents_answer_json(raw_client: RawClient) -> None:
    lead = {"name": "Ada", "company": "Analytical Ltd", "title": "CTO", "email": "ada@analytical.io"}
    message = "Task:\nQualify\n\nInput:\n" + json.dumps(lead | {"score": 50, "route": "hot"})
    found = {}
    for agent in ("researcher", "scorer", "notifier"):
        id_ = raw_client.request(
            "agent", run_params(agent, message, agentId=agent, sessionKey=f"agent:{agent}:demo")
        )
        raw_client.response(id_)
        text = raw_client.response(id_)["payload"]["result"]["payloads"][0]["text"]
        found[agent] = json.loads(text)
    assert found["researcher"]["size"] in ("small", "medium", "large")
    assert found["researcher"]["industry"]
    assert 0 <= found["scorer"]["score"] <= 100
    assert "decision maker" in found["scorer"]["reason"]
    assert found["notifier"]["message"] == "Ada of Analytical Ltd scored 50 and goes to hot."


def test_a_reply_of_nothing_is_an_error_that_says_ok(raw_client: RawClient) -> None:
    for name, reply in (("none", ""), ("word", "NO_REPLY")):
        final = raw_client.run(run_params(name, "@gateway " + json.dumps({"reply": reply})))
        assert (final["ok"], final["payload"]["status"]) == (True, "error")


def test_usage_that_is_not_known_is_not_there(raw_client: RawClient) -> None:
    final = raw_client.run(run_params("unknown", '@gateway {"usage": null, "model": "m"}'))
    meta = final["payload"]["result"]["meta"]["agentMeta"]
    assert set(meta) == {"provider", "model", "sessionId"}
    assert meta["model"] == "m"


def test_a_model_of_ones_own_needs_admin(
    local_gateway: LocalGateway, raw_client: RawClient, raw: Raw
) -> None:
    asked = run_params("model", model="local/scripted-1")
    assert "not authorized" in raw_client.ask("agent", asked)["error"]["message"]
    admin = raw(local_gateway.address)
    admin.connect(scopes=["operator.admin"])
    assert admin.run(asked)["ok"]


@pytest.mark.parametrize(("method", "key"), [("chat.send", "sessionKey"), ("sessions.send", "key")])
def test_a_message_that_is_sent_answers_once(raw_client: RawClient, method: str, key: str) -> None:
    asked = {key: "agent:echo:Chat", "message": "hello", "idempotencyKey": "chat:1"}
    assert raw_client.ask(method, asked)["payload"] == {"runId": "chat:1", "status": "started"}
    waited = raw_client.ask("agent.wait", {"runId": "chat:1", "timeoutMs": 5000})["payload"]
    assert (waited["status"], waited["terminalReply"]["text"]) == ("ok", "hello")
    known = raw_client.ask("chat.history", {"sessionKey": "agent:echo:chat"})["payload"]["messages"]
    assert len(known) == 2


def task(description: str, session: str = "agent:echo:task-a1") -> dict[str, Any]:
    given = {"title": "Qualify", "description": description, "context": {"lead": "Ada"}, "tags": ["x"]}
    return {"agentKey": "echo", "sessionKey": session, "taskInput": given}


def test_tasks_execute_is_there_where_it_is_switched_on(
    gateways: Callable[..., LocalGateway], raw: Raw
) -> None:
    client = raw(gateways(tasks_execute=True).address)
    assert "tasks.execute" in client.connect()["payload"]["features"]["methods"]
    answer = client.ask("tasks.execute", task('@gateway {"usage": {"input": 7, "output": 3}}'))["payload"]
    assert answer["ok"] is True
    assert answer["result"].pop("durationMs") >= 0
    assert answer["result"] == {
        "output": '{"lead": "Ada"}',
        "tokensUsed": {"input": 7, "output": 3},
        "model": "scripted-1",
    }
    failing = '@gateway {"fail": "model", "times": 1}'
    assert client.ask("tasks.execute", task(failing))["error"]["code"] == "UNAVAILABLE"
    assert client.ask("tasks.execute", task(failing, "agent:echo:task-a2"))["ok"]
    short = task("x") | {"taskInput": {"title": "x"}}
    assert "required property 'description'" in client.ask("tasks.execute", short)["error"]["message"]


def test_tasks_execute_is_unknown_elsewhere(local_gateway: LocalGateway, raw: Raw) -> None:
    client = raw(local_gateway.address)
    assert "tasks.execute" not in client.connect()["payload"]["features"]["methods"]
    assert client.ask("tasks.execute", task("x"))["error"]["details"]["missingScope"] == "operator.admin"
    admin = raw(local_gateway.address)
    admin.connect(scopes=["operator.admin"])
    assert admin.ask("tasks.execute", task("x"))["error"]["message"] == "unknown method: tasks.execute"


def test_what_ended_is_kept_for_a_while_and_not_all_of_it() -> None:
    few: Kept[int] = Kept(2, 60.0)
    for number in range(3):
        few.put(str(number), number)
    assert [few.get(str(number)) for number in range(3)] == [None, 1, 2]
    brief: Kept[int] = Kept(10, -1.0)
    brief.put("old", 1)
    assert brief.get("old") is None
