"""Turns with real workers and no sweep: claims and ends send what was held back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from models.queries import lanes, pools
from models.run import Run
from orchestrator.services import consumers
from orchestrator.settings import Settings
from tests.support.brokers import EACH_ONCE
from tests.support.polling import poll
from tests.support.processes import StartProgram, StartWorker

Start = Callable[..., list[str]]


@pytest.fixture
def unswept(stack: Settings) -> Settings:
    return replace(stack, sweep_seconds=900.0, lease_seconds=1000.0)


@pytest.fixture
def start(programs: StartProgram, tmp_path: Path) -> Start:
    """`start(settings, definition, times=1) -> run ids`, from a process of its own."""

    def begin(settings: Settings, definition: dict[str, Any], times: int = 1) -> list[str]:
        file = tmp_path / "definition.json"
        file.write_text(json.dumps(definition))
        program = programs(settings, "-m", "tests.support.starter", *[str(file)] * times)
        poll(lambda: program.log().count(f"{definition['name']} ") == times, 30, "the runs to be started")
        return [line.split()[1] for line in program.log().splitlines() if line.startswith(definition["name"])]

    return begin


def ended(database: Database, *run_ids: str) -> bool:
    with database.read() as session:
        return all(session.get_one(Run, run_id).status == "success" for run_id in run_ids)


def slots(database: Database, queue: str) -> int:
    with database.read() as session:
        return lanes.consumers(session, queue, consumers.SEEN_SECONDS)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_workers_say_what_they_take_until_they_end(
    stack: Settings, workers: StartWorker, database: Database
) -> None:
    threads = workers(stack, queues="steps", concurrency=5)
    prefork = workers(stack, queues="control,steps", pool="prefork", concurrency=2)
    poll(lambda: (slots(database, "steps"), slots(database, "control")) == (7, 2), 20, "both to be seen")
    threads.stop()
    assert slots(database, "steps") == 2
    prefork.stop()
    assert (slots(database, "steps"), slots(database, "control")) == (0, 0)


@EACH_ONCE
def test_claims_release_what_the_window_held(
    unswept: Settings, workers: StartWorker, start: Start, database: Database
) -> None:
    narrow = replace(unswept, dispatch_window=4)
    workers(narrow, concurrency=2)
    nodes = [{"id": f"n{n}", "type": "nothing"} for n in range(40)]
    ids = start(narrow, {"name": "wide", "nodes": nodes})
    poll(lambda: ended(database, *ids), 30, "the run's end")


@EACH_ONCE
def test_a_rate_lets_the_next_begin_when_its_time_has_come(
    unswept: Settings, workers: StartWorker, start: Start, database: Database
) -> None:
    workers(unswept)
    rate = {"key": "k", "limit": 2, "per": "300ms"}
    nodes = [{"id": f"n{n}", "type": "nothing", "rate": rate} for n in range(5)]
    ids = start(unswept, {"name": "rated", "nodes": nodes})
    poll(lambda: ended(database, *ids), 30, "the run's end")


@EACH_ONCE
def test_ends_release_what_waits_for_a_slot(
    unswept: Settings, workers: StartWorker, start: Start, database: Database
) -> None:
    nodes = [{"id": f"n{n}", "type": "probe", "does": {"sleep": 0.02}, "pool": "one"} for n in range(8)]
    ids = start(unswept, {"name": "pooled", "nodes": nodes})
    with database.transaction() as session:
        (workspace,) = session.execute(text("SELECT CAST(workspace_id AS text) FROM run")).one()
        pools.put(session, workspace, "one", 1)
    workers(unswept)
    poll(lambda: ended(database, *ids), 30, "the run's end")


@EACH_ONCE
def test_the_end_of_a_run_starts_the_next_of_its_key(
    unswept: Settings, workers: StartWorker, start: Start, database: Database
) -> None:
    workers(unswept)
    terms = {"key": "k", "limit": 1}
    definition = {"name": "keyed", "nodes": [{"id": "a", "type": "nothing"}], "concurrency": terms}
    ids = start(unswept, definition, 4)
    assert len(ids) == 4
    poll(lambda: ended(database, *ids), 30, "the runs' end")
