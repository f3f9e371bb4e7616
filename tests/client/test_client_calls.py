"""Every method of the client against the real API over real HTTP."""

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from orchestrator.cli.main import main
from orchestrator.client import Client, Conflict, NotFound, RunFailed
from orchestrator.client.answers import RunStatus
from orchestrator.testing import replay
from tests.client.conftest import TRIAGE, Served

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

YAML = """\
name: noted
nodes:
  - {id: one, type: set, values: {text: "line\u2028separator and – dashes"}}
"""


def test_a_workflow_from_its_creation_to_its_archive(client: Client) -> None:
    made = client.workflows.create(YAML)
    assert (made["name"], made["version"]) == ("noted", 1)
    changed = YAML.replace("dashes", "dots")
    assert client.workflows.update("noted", changed.encode())["version"] == 2
    assert client.workflows.update("noted", changed)["version"] == 2
    assert [found["version"] for found in client.workflows.versions("noted")] == [2, 1]
    assert "dashes" in str(client.workflows.version("noted", 1)["definition"])
    assert [c["pointer"] for c in client.workflows.diff("noted", 1, 2)["changed"]] == ["/nodes/0/values/text"]
    assert client.workflows.diff("noted")["added"] == []
    assert client.workflows.rollback("noted", 1)["version"] == 3
    assert client.workflows.plan("noted")["levels"] == [["one"]]
    assert "one" in client.workflows.mermaid("noted", 1)
    assert client.workflows.get(made["id"])["definition"]["name"] == "noted"
    assert client.workflows.archive("noted")["archived_at"] is not None
    assert [found["name"] for found in client.workflows.list()] == ["failing", "triage"]
    assert len(list(client.workflows.list(archived=True))) == 3
    with pytest.raises(Conflict, match="archived"):
        client.runs.start("noted")


def test_a_definition_is_validated_and_nothing_stored(client: Client) -> None:
    assert client.workflows.validate(TRIAGE)["valid"] is True
    found = client.workflows.validate("name: Wrong\nnodes: []\n")
    assert (found["valid"], found["classification"]) == (False, None)
    assert ("/name", 1) in [(error["pointer"], error.get("line")) for error in found["errors"]]
    assert len(list(client.workflows.list())) == 2


def test_a_run_is_started_waited_for_and_read(client: Client, served: Served) -> None:
    served.work.clear()
    started = client.runs.start("triage", {"amount": 21}, labels={"team": "x"}, priority=3, version=1)
    assert started["status"] == "running"
    threading.Timer(0.2, served.work.set).start()

    ended = client.runs.wait(started["id"], check=True)

    assert (ended["status"], ended["outputs"]) == ("success", {"doubled": 42})
    assert [step["path"] for step in client.runs.get(started["id"], steps=True)["steps"]] == ["first", "second"]
    assert [step["status"] for step in client.runs.steps(started["id"])] == ["success", "success"]
    step = client.runs.step(started["id"], "first")
    assert (step["output"], [tried["status"] for tried in step["attempt_log"]]) == ({"doubled": 42}, ["success"])
    log = list(client.runs.log(started["id"]))
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    assert list(client.runs.log(started["id"], after=3, limit=2)) == log[3:5]
    assert "first" in client.runs.mermaid(started["id"])
    assert [run["id"] for run in client.runs.list(labels={"team": "x"}, status="success")] == [started["id"]]
    assert list(client.runs.list(workflow="triage", labels={"team": "y"})) == []


def test_the_api_can_hold_its_answer_until_the_end(client: Client) -> None:
    ended = client.runs.start("triage", {"amount": 1}, hold=30)
    assert (ended["status"], ended["outputs"]) == ("success", {"doubled": 2})


def test_a_run_that_fails_is_returned_or_raised(client: Client) -> None:
    run = client.runs.start("failing")
    assert client.runs.wait(run["id"])["status"] == "failed"
    with pytest.raises(RunFailed, match=r"of failing ended failed at step only: \w+: ") as caught:
        client.runs.wait(run["id"], check=True)
    assert caught.value.run["id"] == run["id"]


def test_a_run_is_paused_resumed_and_aborted(client: Client, served: Served) -> None:
    served.work.clear()
    run = client.runs.start("triage", {"amount": 1}, budget={"limit_cents": 5})["id"]
    assert client.runs.pause(run, reason="lunch")["status"] == "paused"
    assert client.runs.resume(run, limit_cents=9)["status"] == "running"
    assert client.runs.abort(run, reason="enough")["status"] == "aborted"
    assert client.runs.abort(run)["status"] == "aborted"
    with pytest.raises(RunFailed, match="ended aborted"):
        client.runs.wait(run, check=True)
    with pytest.raises(Conflict):
        client.runs.pause(run)


def test_approvals_links_and_signals(client: Client) -> None:
    asks = {"id": "ask", "type": "approval", "required": 2, "assignees": ["ada", "bob"]}
    waits = {"id": "wait", "type": "signal", "signal": "signed"}
    client.workflows.create({"name": "asking", "nodes": [asks, waits]})
    run = client.runs.start("asking")["id"]
    asked = next(event for event in client.runs.events(run) if event["type"] == "approval.requested")
    (found,) = client.approvals.list(assignee="bob", run=run)
    assert found["id"] == asked["data"]["approval"]
    link = client.approvals.link(found["id"], "bob@example.com")
    client.request("POST", f"/api/approval-links/{link['token']}/approve", {"data": {"n": 1}})
    assert client.approvals.get(found["id"])["votes"][0]["by"] == "bob@example.com"
    assert client.approvals.approve(found["id"], comment="fine")["status"] == "approved"
    with pytest.raises(Conflict, match="one vote a key"):
        client.approvals.reject(found["id"])
    client.runs.signal(run, "signed", {"by": "ada"}, id="n-1")
    assert client.runs.wait(run, timeout=60)["outputs"]["wait"] == {"by": "ada"}
    assert list(client.approvals.list()) == []
    assert [each["id"] for each in client.approvals.list(status="all")] == [found["id"]]
    assert client.signals.send("signed", "k", id="n-2")["run_id"] is None


def test_an_operator_acts_on_steps(client: Client, served: Served) -> None:
    served.work.clear()
    run = client.runs.start("triage", {"amount": 1})["id"]
    with pytest.raises(Conflict, match="first is queued; only one that is failed can be retried"):
        client.runs.retry(run, "first")
    client.runs.set_variables(run, {"x": 1}, reason="to see it")
    assert client.runs.override(run, "second", timeout="5s", retry={"max_attempts": 2})["variables"] == {"x": 1}
    client.runs.skip(run, "first", reason="no need")
    assert client.runs.get(run)["status"] == "failed"  # its outputs name what was skipped
    client.runs.rerun(run, "first")
    served.work.set()
    assert client.runs.wait(run)["status"] == "success"
    failed = client.runs.start("failing")["id"]
    client.runs.wait(failed)
    assert client.runs.complete(failed, "only", {"by": "hand"})["status"] == "success"
    done = client.runs.bulk("retry", {"workflow": "failing"}, reason="again")
    assert [(item["done"], item["error"] and item["error"]["code"]) for item in done["items"]] == [(False, "CONFLICT")]


def test_keys_and_workspaces(client: Client, served: Served) -> None:
    assert client.workspaces.create("sales")["name"] == "sales"
    assert client.workspaces.get("sales")["name"] == "sales"
    assert "sales" in [found["name"] for found in client.workspaces.list()]
    made = client.keys.create("reader", ["read"], workspace="sales")
    assert client.keys.get(made["id"])["workspace"] == "sales"
    assert made["id"] in [found["id"] for found in client.keys.list()]
    with served.client(made["key"]) as reader:
        assert list(reader.workflows.list()) == []
    assert client.keys.revoke(made["id"])["revoked_at"] is not None


def test_lists_go_over_pages_up_to_the_limit(client: Client, served: Served) -> None:
    for number in range(203):
        client.runs.start("failing", labels={"n": str(number)})
    served.faults.seen.clear()
    assert len({run["id"] for run in client.runs.list()}) == 203
    assert served.paths == ["GET /api/runs"] * 2
    assert len(list(client.runs.list(202))) == 202
    assert len(list(client.runs.list(0))) == 0


def test_threads_share_a_client(client: Client) -> None:
    def once(number: int) -> RunStatus:
        run = client.runs.start("triage", {"amount": number})
        return client.runs.wait(run["id"], timeout=60)["status"]

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(once, range(16))) == {"success": 16}


def test_what_has_no_method_is_called_by_its_path(client: Client) -> None:
    assert client.request("GET", "/api/workflows", params={"limit": 1})["items"][0]["name"] == "failing"
    made = client.request("POST", "/api/workspaces", {"name": "ops"}, idempotency_key="k")
    assert client.request("POST", "/api/workspaces", {"name": "ops"}, idempotency_key="k") == made
    with pytest.raises(NotFound):
        client.request("DELETE", "/api/keys/none")


def test_names_are_one_segment_of_a_path(client: Client) -> None:
    for name in ("triage/plan", "..", ".", "", "?", "#", "%2e", "ü", "../runs"):
        with pytest.raises(NotFound):
            client.workflows.get(name)
    run = client.runs.start("triage", {"amount": 1})["id"]
    for path in ("..", ".", "", "each[0]/x", "first/..", "first?", "%66irst"):
        with pytest.raises(NotFound):
            client.runs.step(run, path)


def test_the_api_says_whether_it_is_ready(client: Client) -> None:
    assert client.ready()["status"] == "degraded"
    assert "workers" in client.ready()["missing"]


def test_the_client_loads_nothing_of_the_engine(database_kind: str) -> None:
    code = (
        "import sys, orchestrator.client; print([m for m in ('sqlalchemy', 'celery', 'kombu', 'flask',"
        " 'orchestrator.services', 'models.base') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_workflow_is_tested_and_a_run_replayed(
    client: Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = client.workflows.test("triage", {"amount": 4}, script=[{"after": "1d"}])
    assert (tested["status"], tested["outputs"], tested["unmocked"]) == ("success", {"doubled": 8}, [])
    ended = client.runs.wait(client.runs.start("triage", {"amount": 21})["id"], check=True)
    monkeypatch.setenv("ORCHESTRATOR_URL", served.url)
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", served.key)
    printed = CliRunner().invoke(main, ["history", ended["id"]])
    history = json.loads(printed.output)
    assert history["run"]["outputs"] == {"doubled": 42}
    replay(history, TRIAGE).check()
    assert client.workflows.test("triage", history=history)["differences"] == []
