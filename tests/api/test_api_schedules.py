"""`/api/schedules` over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.services import sweeps
from tests.api.conftest import ROUTED, Api

BODY = {"name": "nightly", "workflow": "triage", "cron": "30 2 * * *", "inputs": {"amount": 7}}


def made(api: Api, **fields: Any) -> dict[str, Any]:
    api.define(ROUTED)
    found: dict[str, Any] = api.done(api.post("/api/schedules", {**BODY, **fields}), 201)
    return found


def errors(answer: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in answer.get_json()["errors"]]


def test_a_schedule_is_made_read_listed_changed_and_removed(api: Api) -> None:
    schedule = made(api, timezone="Europe/Berlin")
    assert schedule["overlap"] == "skip"
    assert (schedule["catch_up"], schedule["jitter"], schedule["version"]) == ("1d", 0, None)
    assert len(schedule["next_fire_times"]) == 5
    assert schedule["next_fire_times"][0] == schedule["next_fire_at"]
    assert (schedule["recent_fires"], schedule["backfills"], schedule["created_by"]) == ([], [], "admin")
    for name in ("nightly", "NIGHTLY", schedule["id"]):
        assert api.done(api.get(f"/api/schedules/{name}")) == schedule
    (listed,) = api.done(api.get("/api/schedules", workflow="triage"))["items"]
    assert schedule == {**listed, "recent_fires": [], "backfills": []}
    assert api.done(api.get("/api/schedules", workflow="other"))["items"] == []
    changed = api.done(api.patch("/api/schedules/nightly", {"interval": "5m", "overlap": "allow"}))
    assert (changed["cron"], changed["interval"], changed["overlap"]) == (None, "5m", "allow")
    assert api.done(api.delete("/api/schedules/nightly"))["id"] == schedule["id"]
    assert api.get("/api/schedules/nightly").status_code == 404


def test_a_schedule_fires_and_its_fires_are_listed(api: Api) -> None:
    schedule = made(api, cron=None, interval="1s", catch_up="10s")
    api.done(api.post("/api/schedules/nightly/pause", {"reason": "wait"}))
    past = datetime.fromisoformat(schedule["created_at"]) - timedelta(seconds=3)
    body = {"from": past.isoformat(), "to": datetime.now(UTC).isoformat(), "max_parallel": 2}
    filled = api.done(api.post("/api/schedules/nightly/backfill", body), 202)
    assert filled["total"] == filled["queued"] >= 3
    api.engine.send(sweeps.run(api.engine.deps, "schedules").effects)
    api.engine.drain()
    page = api.done(api.get("/api/schedules/nightly/fires", limit=2, kind="backfill"))
    more = api.done(api.get("/api/schedules/nightly/fires", limit=2, kind="backfill", cursor=page["next_cursor"]))
    times = [fire["fire_at"] for fire in page["items"] + more["items"]]
    assert times == sorted(times, reverse=True)
    assert {fire["run_status"] for fire in page["items"]} == {"success"}
    run = api.done(api.get(f"/api/runs/{page['items'][0]['run_id']}"))
    assert run["labels"] == {"schedule": "nightly"}
    assert len(api.done(api.get("/api/runs", label="schedule:nightly"))["items"]) == filled["total"]
    assert api.get("/api/schedules/nightly/fires", kind="odd").status_code == 422
    (shown,) = api.done(api.get("/api/schedules/nightly"))["backfills"]
    assert shown["started"] == filled["total"]


def test_a_trigger_answers_as_the_http_trigger_does(api: Api) -> None:
    made(api)
    headers = {"Idempotency-Key": "once"}
    first = api.post("/api/schedules/nightly/trigger", {"reason": "now"}, headers=headers)
    run = api.done(first, 202)
    assert first.headers["Location"] == f"/api/runs/{run['id']}"
    again = api.post("/api/schedules/nightly/trigger", {"reason": "now"}, headers=headers)
    assert (again.status_code, again.get_json()["id"]) == (202, run["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    (fire,) = api.done(api.get("/api/schedules/nightly/fires"))["items"]
    assert (fire["kind"], fire["run_id"]) == ("manual", run["id"])
    api.engine.drain()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cron": "nonsense"}, [("/cron", "INVALID_CRON")]),
        ({"cron": None}, [("/cron", "MISSING_FIELD")]),
        ({"interval": "5m"}, [("/interval", "INVALID_VALUE")]),
        ({"cron": None, "interval": "often"}, [("/interval", "INVALID_DURATION")]),
        ({"cron": None, "rrule": "FREQ=NEVER"}, [("/rrule", "INVALID_VALUE")]),
        ({"timezone": "Mars/Olympus"}, [("/timezone", "INVALID_VALUE")]),
        ({"catch_up": "x", "jitter": "2d"}, [("/catch_up", "INVALID_DURATION"), ("/jitter", "INVALID_DURATION")]),
        ({"overlap": "both"}, [("/overlap", "INVALID_VALUE")]),
        ({"workflow": "nothing"}, [("/workflow", "INVALID_VALUE")]),
        ({"version": 9}, [("/version", "INVALID_VALUE")]),
        ({"inputs": {}}, [("/inputs/amount", "MISSING_FIELD")]),
        ({"name": "no name"}, [("/name", "INVALID_NAME")]),
        ({"ends_at": "0001-01-01T00:00:00Z"}, [("/ends_at", "INVALID_VALUE")]),
        ({"every": "5m"}, [("/every", "UNKNOWN_FIELD")]),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_is_refused_says_where(api: Api, fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    api.define(ROUTED)
    answer = api.post("/api/schedules", {**BODY, **fields})
    assert answer.status_code == 422
    assert [pointer for pointer, _ in errors(answer)] == [pointer for pointer, _ in expected]
    if "inputs" not in fields:
        assert errors(answer) == expected


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_names_archives_scopes_and_workspaces(api: Api) -> None:
    made(api)
    assert api.post("/api/schedules", BODY).status_code == 409
    reader = api.with_key("read")
    assert reader.get("/api/schedules/nightly").status_code == 200
    assert reader.post("/api/schedules", {**BODY, "name": "x"}).status_code == 403
    assert reader.post("/api/schedules/nightly/pause").status_code == 403
    operator = api.with_key("operate")
    assert operator.post("/api/schedules/nightly/pause").status_code == 200
    other = api.elsewhere()
    for act in ("pause", "resume", "trigger"):
        assert other.post(f"/api/schedules/nightly/{act}").status_code == 404
    assert other.get("/api/schedules/nightly/fires").status_code == 404
    api.done(api.delete("/api/workflows/triage"))
    assert api.post("/api/schedules", {**BODY, "name": "late"}).status_code == 409
    assert api.post("/api/schedules/nightly/trigger").status_code == 409


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_create_is_done_once_by_its_key(api: Api) -> None:
    api.define(ROUTED)
    headers = {"Idempotency-Key": "k"}
    first = api.done(api.post("/api/schedules", BODY, headers=headers), 201)
    assert api.done(api.post("/api/schedules", BODY, headers=headers), 201) == first
