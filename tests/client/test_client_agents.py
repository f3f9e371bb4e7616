"""`client.agents` and `client.gateways` against the real API."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.main import main
from orchestrator.client import Client, Conflict, Forbidden, NotFound, RateLimited, Unauthorized
from tests.client.conftest import Served
from tests.support import fake_gateway, offers
from tests.support.polling import poll


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


def test_an_agents_life(client: Client, served: Served) -> None:
    enrolment = client.keys.create("boot", ["agent"])["key"]
    with served.client(enrolment) as boot:
        made = boot.agents.register("Scorer", "judge", ["score"], files={"SOUL.md": "be fair"}, rate_limit=9)
        assert made["is_new"]
        with pytest.raises(Conflict):
            boot.agents.register("scorer", "judge")
    assert client.agents.get("scorer")["files"] == {"SOUL.md": "be fair"}
    assert [found["id"] for found in client.agents.list(role="judge", capability="score")] == [made["agent_id"]]
    assert client.agents.update("scorer", {"rate_limit": None, "level": "x"})["rate_limit"] is None
    with served.client(made["api_key"]) as own:
        assert own.agents.heartbeat("scorer", status="busy", queued_task_count=2)["queued_task_count"] == 2
        for _ in range(5):
            own.agents.heartbeat("scorer")
        with pytest.raises(RateLimited):
            own.agents.heartbeat("scorer")
        with pytest.raises(Forbidden):
            own.agents.delete("scorer")
        rotated = own.agents.rotate_key("scorer", grace_seconds=0)
        with pytest.raises(Unauthorized):
            own.agents.get("scorer")
    with served.client(rotated["api_key"]) as own:
        assert own.agents.get("scorer")["status"] == "busy"
    assert client.agents.delete("scorer")["name"] == "scorer"
    with pytest.raises(NotFound):
        client.agents.get("scorer")


def test_work_is_pulled_and_ended(client: Client, served: Served) -> None:
    client.workflows.create({"name": "asks", "nodes": [{"id": "ask", "type": "agent", "role": "judge"}]})
    made = client.agents.register("scorer", "judge")
    engine = served.engine
    with served.client(made["api_key"]) as own:
        assert own.agents.work("scorer") is None
        assert own.agents.work("scorer", wait=1) is None
        for end in ("complete", "fail"):
            run = client.runs.start("asks")["id"]
            step = _waiting(client, run)
            workspace = client.workspaces.get("default")["id"]
            offers.offer(engine.deps, workspace, run, step, role="judge")
            work = own.agents.work("scorer", wait=10)
            assert work is not None
            token = work["lease_token"]
            assert own.agents.renew("scorer", token)["lease_until"] >= work["lease_until"]
            if end == "complete":
                usage = {"input": 3, "output": 1}
                ended = own.agents.complete("scorer", token, "fine", output={"n": 1}, usage=usage, model="m")
            else:
                ended = own.agents.fail("scorer", token, "no", code="VALIDATION", details={"why": "x"})
            expected = "success" if end == "complete" else "failed"
            assert (ended["run_id"], ended["status"]) == (run, expected)
            assert client.runs.wait(run, timeout=30)["status"] == expected
            with pytest.raises(Conflict):
                own.agents.renew("scorer", token)


def _waiting(client: Client, run: str) -> str:
    poll(lambda: client.runs.step(run, "ask")["status"] == "waiting", what="the step waits")
    return "ask"


def test_gateways(client: Client, served: Served) -> None:
    fake_gateway.install(served.engine.deps)
    made = client.gateways.create("hub", "ws://127.0.0.1:1", token="t", default=True)
    assert (made["has_token"], made["default"]) == (True, True)
    with pytest.raises(Conflict):
        client.gateways.create("hub", "ws://127.0.0.1:1")
    assert client.gateways.ping("hub")["status"] == "healthy"
    assert client.gateways.update("hub", {"token": None})["has_token"] is False
    assert [found["name"] for found in client.gateways.list()] == ["hub"]
    assert client.gateways.get(made["id"])["name"] == "hub"
    assert client.gateways.delete("hub")["id"] == made["id"]


def test_the_command_line_lists_them(
    client: Client, served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"URL": served.url, "API_KEY": served.key, "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)

    def said(*args: str) -> str:
        ended = CliRunner().invoke(main, args)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    assert "No agents." in said("agents")
    assert "No gateways." in said("gateways")
    client.gateways.create("hub", "ws://127.0.0.1:1", token="canary-token", default=True)
    client.agents.register("scorer", "judge", gateway="hub", max_concurrent=4)
    client.agents.register("puller", "worker")
    lines = said("agents").splitlines()
    assert lines[0].split() == ["agent", "role", "status", "load", "queued", "gateway", "last", "heard"]
    assert lines[1].split()[:6] == ["puller", "worker", "online", "0", "0", "pulls"]
    assert lines[2].split()[:8] == ["scorer", "judge", "online", "0", "of", "4", "0", "hub"]
    assert lines[2].endswith(" s ago")
    assert [agent["name"] for agent in json.loads(said("agents", "--role", "judge", "--json"))] == ["scorer"]
    (line,) = said("gateways").splitlines()[1:]
    assert line.split() == ["hub", "openclaw", "ws://127.0.0.1:1", "unknown", "default", "never"]
    assert "canary-token" not in said("gateways", "--json")
