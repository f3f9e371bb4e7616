"""Schedules by the client, and by the command line, which is made with it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.main import main
from orchestrator.client import Client, Conflict, Invalid, NotFound
from orchestrator.services import sweeps
from tests.client.conftest import Served
from tests.support.polling import poll

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
FIELDS = {"cron": "*/5 * * * *", "inputs": {"amount": 2}}


def test_every_call(client: Client, served: Served) -> None:
    made = client.schedules.create("often", "triage", **FIELDS, timezone="Europe/Berlin", overlap="allow")
    assert (made["cron"], made["timezone"], made["overlap"]) == ("*/5 * * * *", "Europe/Berlin", "allow")
    assert [found["name"] for found in client.schedules.list(workflow="triage")] == ["often"]
    assert client.schedules.update("often", {"jitter": "10s"})["jitter"] == "10s"
    assert client.schedules.pause("often", "night")["paused"]
    assert not client.schedules.resume("often")["paused"]
    run = client.schedules.trigger("often", idempotency_key="once")
    assert client.schedules.trigger("often", idempotency_key="once")["id"] == run["id"]
    assert client.runs.wait(run["id"], timeout=30)["status"] == "success"
    now = datetime.now(UTC)
    filled = client.schedules.backfill("often", (now - timedelta(minutes=10)).isoformat(), now.isoformat())
    assert filled["total"] == 2

    def all_started() -> bool:
        served.engine.send(sweeps.run(served.engine.deps, "schedules").effects)
        return client.schedules.get("often")["backfills"][0]["finished_at"] is not None

    poll(all_started, 30, "the backfill's end")
    assert len(list(client.schedules.fires("often", kind="backfill", outcome="started"))) == 2
    assert client.schedules.delete("often")["id"] == made["id"]
    with pytest.raises(NotFound):
        client.schedules.get("often")


def test_refusals(client: Client) -> None:
    client.schedules.create("often", "triage", **FIELDS)
    with pytest.raises(Conflict):
        client.schedules.create("often", "triage", **FIELDS)
    with pytest.raises(Invalid):
        client.schedules.create("never", "triage", cron="0 0 30 2 *", inputs={"amount": 2})


def command(served: Served, monkeypatch: pytest.MonkeyPatch, *args: str) -> Result:
    monkeypatch.setenv("ORCHESTRATOR_URL", served.url)
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", served.key)
    return CliRunner().invoke(main, ["schedules", *args])


def test_the_command_line(
    client: Client, served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told(*args: str) -> str:
        answer = command(served, monkeypatch, *args)
        assert answer.exit_code == 0, answer.output
        return answer.output

    assert "No schedules" in told()
    of = ("--workflow", "triage", "-i", "amount=2")
    assert "every 1h" in told("create", "hourly", *of, "--every", "1h", "--overlap", "queue")
    file = tmp_path / "schedule.json"
    file.write_text(json.dumps({"name": "filed", "workflow": "triage", "inputs": {"amount": 1}, "cron": "@daily"}))
    made = json.loads(told("create", "--file", str(file), "--catch-up", "2h", "--json"))
    assert (made["name"], made["cron"], made["catch_up"]) == ("filed", "@daily", "2h")
    assert [line.split()[0] for line in told("list").splitlines()] == ["schedule", "filed", "hourly"]
    assert [found["name"] for found in json.loads(told("--json"))] == ["filed", "hourly"]
    assert "hourly is paused" in told("pause", "hourly", "--reason", "night")
    assert "paused" in told("list", "--workflow", "triage")
    assert "fires next at" in told("resume", "hourly")
    run_id = told("trigger", "hourly").strip()
    assert client.runs.wait(run_id, timeout=30)["status"] == "success"
    now = datetime.now(UTC)
    times = ("--from", (now - timedelta(hours=2)).isoformat(), "--to", now.isoformat())
    assert "2 fire times are made up" in told("backfill", "hourly", *times)
    assert json.loads(told("backfill", "hourly", *times, "--json"))["total"] == 0
    assert "manual" in told("fires", "hourly")
    assert "manual" in told("show", "hourly")
    assert "hourly is removed" in told("delete", "hourly")
    failed = command(served, monkeypatch, "show", "hourly")
    assert (failed.exit_code, "There is no schedule" in failed.output) == (1, True)
    assert command(served, monkeypatch, "create", "x").exit_code == 2
