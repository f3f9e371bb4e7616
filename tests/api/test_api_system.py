"""Health, readiness, metrics, documents."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from models.database import Database
from models.queries import stamps
from orchestrator.services import sweeps
from tasks.broker import Probe
from tests.api.conftest import DISPATCHED, Api
from tests.support.engine import Engine
from tests.support.polling import poll


def sweep(engine: Engine, *, on_beat: bool) -> None:
    sweeps.run(engine.deps, "due", on_beat=on_beat)


def readiness(api: Api) -> tuple[int, dict[str, Any]]:
    answer = api.without_key().get("/readyz")
    return answer.status_code, answer.get_json()


def test_alive_needs_nothing(api: Api) -> None:
    assert api.done(api.without_key().get("/healthz")) == {"status": "ok"}


def test_ready_when_all_parts_show_themselves(api: Api, engine: Engine, make_api: Callable[..., Api]) -> None:
    assert readiness(api) == (200, {"status": "degraded", "missing": ["workers", "beat"]})
    sweep(engine, on_beat=False)
    assert readiness(api) == (200, {"status": "degraded", "missing": ["beat"]})
    sweep(engine, on_beat=True)
    assert readiness(api) == (200, {"status": "ready", "missing": []})
    assert readiness(make_api(broker=False)) == (200, {"status": "degraded", "missing": ["broker"]})
    with engine.deps.db.transaction() as session:
        for name in ("sweep.due", sweeps.BEAT):
            stamps.put(session, name, time.time() - 60)
    assert readiness(api)[1]["missing"] == ["workers", "beat"]


def test_without_the_database_nothing_is_ready_and_calls_say_so(engine: Engine, tmp_path: Path) -> None:
    gone = Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    app = create_app(replace(engine.deps, db=gone), send=engine.send, broker_answers=lambda: True)
    api = Api(app=app, engine=engine, key="ork_any")

    assert readiness(api) == (503, {"status": "unavailable", "missing": ["database"]})
    refused = api.get("/api/runs")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.get_json()["code"] == "UNAVAILABLE"
    assert api.get("/metrics").status_code == 200
    gone.close()


def test_metrics_count_what_is_open_and_what_was_asked(api: Api) -> None:
    api.define(DISPATCHED)
    api.done(api.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)
    api.get("/api/made/up")
    api.call("BREW", "/api/runs")

    text = api.without_key().get("/metrics").text

    assert 'orchestrator_open_runs{status="running"} 1.0' in text
    assert 'orchestrator_queued_steps{queue="control"} 1.0' in text
    assert 'route="/api/workflows/<workflow>/runs",status="202"' in text
    assert "made/up" not in text
    assert "BREW" not in text


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_documentation_needs_nothing_from_elsewhere(api: Api) -> None:
    page = api.without_key().get("/api/docs")

    assert page.mimetype == "text/html"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert re.findall(r"""(?:src|href)=["'](?!data:|openapi\.json)[^#"']*""", page.text) == []
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text


def test_a_probe_waits_no_longer_than_its_patience_and_takes_a_late_answer() -> None:
    answering, asked = threading.Event(), []

    def ask() -> None:
        asked.append(True)
        assert answering.wait(10)

    probe = Probe(ask=ask, patience=0.05)

    began = time.monotonic()
    assert [probe(), probe()] == [False, False]
    assert time.monotonic() - began < 1
    assert len(asked) == 1
    answering.set()
    poll(probe, what="the late answer")


def test_a_broker_that_refuses_is_missing() -> None:
    def ask() -> None:
        raise ConnectionRefusedError

    assert Probe(ask=ask)() is False
