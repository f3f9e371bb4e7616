"""Event streams: replay, live, end; many clients at the cost of one."""

import json
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import requests

from api.app import create_app
from api.followers import MOST
from api.hub import Hub
from models.queries import runs as queries
from orchestrator.services import keys, runs
from orchestrator.services.feeds import Head
from orchestrator.settings import Settings
from tests.api.conftest import DISPATCHED, ROUTED, Api
from tests.api.sources import OneRun
from tests.support.engine import Engine
from tests.support.polling import poll
from tests.support.processes import StartProgram
from tests.support.programs import Program

BLOCK = re.compile(r"id: (\d+)\nevent: ([a-z_.]+)\ndata: (.+)")


def parse(text: str) -> list[dict[str, Any]]:
    """The events of a stream's text; ids, types and data agree."""
    events = []
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            match = BLOCK.fullmatch(block)
            assert match is not None, block
            event = json.loads(match[3])
            assert (match[1], match[2]) == (str(event["seq"]), event["type"])
            events.append(event)
    return events


def parse_watched(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream of a workspace, each with its id."""
    found = []
    for block in text.split("\n\n"):
        if block.startswith("id: "):
            last, kind, data = (line.partition(": ")[2] for line in block.split("\n"))
            event = json.loads(data)
            assert event["type"] == kind
            found.append((last, event))
    return found


@pytest.fixture
def defined(api: Api) -> Api:
    for definition in (ROUTED, DISPATCHED):
        api.define(definition)
    return api


def test_an_ended_run_is_replayed_whole_and_the_stream_ends(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 1})
    path = f"/api/runs/{run['id']}"

    stream = defined.get(f"{path}/stream")

    assert stream.mimetype == "text/event-stream"
    assert stream.headers["X-Accel-Buffering"] == "no"
    assert stream.headers["Cache-Control"] == "no-store"
    events = defined.done(defined.get(f"{path}/events"))["items"]
    assert parse(stream.text) == events
    assert parse(defined.get(f"{path}/stream", after=3).text) == events[3:]
    resumed = defined.call("GET", f"{path}/stream?after=1", headers={"Last-Event-ID": "5"})
    assert parse(resumed.text) == events[5:]
    last = str(events[-1]["seq"])
    assert parse(defined.call("GET", f"{path}/stream", headers={"Last-Event-ID": last}).text) == []
    for wrong in ("x", "-1", "1e3", "9" * 30):
        assert defined.call("GET", f"{path}/stream", headers={"Last-Event-ID": wrong}).status_code == 422


def test_a_running_run_is_followed_to_its_end(defined: Api, engine: Engine) -> None:
    run = defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)
    threading.Timer(0.3, engine.drain).start()

    stream = defined.get(f"/api/runs/{run['id']}/stream")

    events = parse(stream.text)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "run.completed"


def test_a_trigger_can_answer_with_the_stream(defined: Api, engine: Engine) -> None:
    threading.Timer(0.3, engine.drain).start()

    stream = defined.post(
        "/api/workflows/dispatched/runs", {"inputs": {"n": 1}}, headers={"Accept": "text/event-stream"}
    )

    assert stream.mimetype == "text/event-stream"
    events = parse(stream.text)
    assert stream.headers["Location"] == f"/api/runs/{events[0]['run_id']}"
    assert (events[0]["type"], events[-1]["type"]) == ("run.created", "run.completed")
    refused = defined.post("/api/workflows/nobody/runs", {}, headers={"Accept": "text/event-stream"})
    assert refused.status_code == 404


def test_a_paused_run_keeps_its_stream_open(defined: Api, engine: Engine) -> None:
    run = defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)["id"]
    defined.done(defined.post(f"/api/runs/{run}/pause", {"reason": "lunch"}))

    def go_on() -> None:
        engine.send(runs.resume(engine.deps, engine.actor, run))
        engine.drain()

    threading.Timer(0.4, go_on).start()
    types = [event["type"] for event in parse(defined.get(f"/api/runs/{run}/stream").text)]

    assert types.index("run.paused") < types.index("run.resumed")
    assert types[-1] == "run.completed"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_one_client_too_many_is_sent_away_and_starts_nothing(engine: Engine, api_settings: Settings) -> None:
    deps = replace(engine.deps, settings=replace(api_settings, sse_max=1))
    app = create_app(deps, send=engine.send, broker_answers=lambda: True)
    api = Api(app=app, engine=engine, key=keys.bootstrap(deps))
    api.define(DISPATCHED)
    run = api.done(api.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)["id"]
    first = api.call("GET", f"/api/runs/{run}/stream", buffered=False)

    refused = api.get(f"/api/runs/{run}/stream")
    started = api.post("/api/workflows/dispatched/runs", {}, headers={"Accept": "text/event-stream"})

    assert (refused.status_code, started.status_code) == (503, 503)
    assert int(refused.headers["Retry-After"]) >= 1
    assert len(api.done(api.get("/api/runs"))["items"]) == 1
    first.close()
    api.done(api.post(f"/api/runs/{run}/abort"))
    assert api.get(f"/api/runs/{run}/stream").status_code == 200


@dataclass
class Log(OneRun):
    """A run's log that a test writes; counts the reads."""

    seq: int = 0
    ended: bool = False
    asked: int = 0
    read: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, count: int, *, ended: bool = False) -> None:
        with self.lock:
            self.seq += count
            self.ended = ended

    def heads(self, run_ids: Collection[str]) -> dict[str, Head]:
        with self.lock:
            self.asked += 1
            return {run_id: Head(seq=self.seq, ended=self.ended) for run_id in run_ids}

    def events(self, run_id: str, *, after: int, upto: int, limit: int) -> list[dict[str, Any]]:
        self.read += 1
        last = min(upto, after + limit)
        return [{"seq": seq, "type": "step.queued", "run_id": run_id} for seq in range(after + 1, last + 1)]

    def chunks(self, run_ids: Collection[str], *, after: int, limit: int) -> list[tuple[int, Any]]:
        return []

    def last_chunk(self) -> int:
        return 0


def sequence(stream: Iterator[bytes]) -> list[int]:
    return [event["seq"] for event in parse(b"".join(stream).decode())]


def test_many_clients_cost_one_read_a_tick() -> None:
    log = Log(seq=10)
    hub = Hub(log, tick=0.01)
    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(sequence(hub.stream("r", 10)))) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    poll(lambda: log.asked > 42, what="all followers")
    joined, read = log.asked, log.read

    log.write(5, ended=True)
    for thread in threads:
        thread.join(10)

    assert results == [list(range(11, 16))] * 40
    assert log.read - read == 1
    assert log.asked - joined < 40


def test_a_client_that_falls_behind_reads_on_from_the_log() -> None:
    log = Log(seq=1)
    hub = Hub(log, tick=0.001)
    stream = hub.stream("r", 0)
    begun = list(islice(stream, 2))

    for _ in range(MOST + 50):
        seen = log.read
        log.write(1)
        poll(lambda seen=seen: log.read > seen, what="the next tick")
    log.write(3, ended=True)

    assert parse(b"".join(begun).decode())[0]["seq"] == 1
    assert sequence(stream) == list(range(2, MOST + 55))


def test_a_long_log_is_read_in_pages() -> None:
    log = Log(seq=1800, ended=True)

    assert sequence(Hub(log).stream("r", 0)) == list(range(1, 1801))
    assert log.read == 4


def test_silence_is_filled_with_heartbeats() -> None:
    log = Log(seq=1)
    stream = Hub(log, tick=0.01, heartbeat=0.02).stream("r", 1)

    assert [next(stream) for _ in range(3)][1:] == [b": heartbeat\n\n"] * 2
    stream.close()


def test_nobody_asks_when_nobody_follows() -> None:
    log = Log(seq=1)
    hub = Hub(log, tick=0.01)
    stream = hub.stream("r", 0)
    list(islice(stream, 2))
    poll(lambda: log.asked > 2, what="the hub to ask")

    stream.close()

    poll(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "event-hub"],
        what="the hub's end",
    )
    assert hub.wait("r", 0.05) is False


def test_the_hub_outlives_a_database_that_is_away() -> None:
    log = Log(seq=1)
    failing = threading.Event()

    class Away(Log):
        def heads(self, run_ids: Collection[str]) -> dict[str, Head]:
            if threading.current_thread().name == "event-hub" and not failing.is_set():
                failing.set()
                raise ConnectionError
            return log.heads(run_ids)

    hub = Hub(Away(), tick=0.01)
    threading.Timer(0.05, log.write, (2,), {"ended": True}).start()

    assert sequence(hub.stream("r", 1)) == [2, 3]
    assert failing.is_set()


@pytest.fixture
def server(settings: Settings, programs: StartProgram, engine: Engine) -> Callable[[], tuple[Program, str]]:
    """`server() -> (process, url)`: gunicorn over the test's database, on a port of its own."""

    def start() -> tuple[Program, str]:
        served = replace(
            settings, broker_url="redis://127.0.0.1:1/0"
        )  # nobody there: the API needs the database alone
        program = programs(
            served,
            "-m",
            "gunicorn",
            "-k",
            "gthread",
            "--threads",
            "16",
            "-b",
            "127.0.0.1:0",
            "api.app:create_app()",
        )
        program.wait_until("Listening at", 30)
        found = re.search(r"Listening at: (http://[0-9.:]+)", program.log())
        assert found is not None
        program.wait_until("Booting worker", 30)
        return program, found[1]

    return start


def lines(url: str, key: str, last_id: str | None = None) -> Iterator[tuple[requests.Response, str]]:
    headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": last_id} if last_id else {})
    response = requests.get(url, headers=headers, stream=True, timeout=20)
    response.raise_for_status()
    for line in response.iter_lines(chunk_size=1, decode_unicode=True):
        yield response, line


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_stream_that_is_cut_and_resumed_shows_every_event_once(
    api: Api, engine: Engine, server: Callable[[], tuple[Program, str]]
) -> None:
    nodes = [{"id": f"n{no}", "type": "transform", "expression": str(no)} for no in range(20)]
    api.define({"name": "long", "nodes": nodes, "edges": [" >> ".join(node["id"] for node in nodes)]})
    run = api.done(api.post("/api/workflows/long/runs"), 202)["id"]
    assert api.key is not None
    seen: list[int] = []

    def follow(program: Program, url: str, most: int) -> bool:
        """Whether the stream ended by itself; it is cut after `most` events."""
        last = str(seen[-1]) if seen else None
        for count, (response, line) in enumerate(lines(f"{url}/api/runs/{run}/stream", api.key or "", last)):
            if line.startswith("id: "):
                seen.append(int(line[4:]))
            if line == "" and len(seen) >= most:
                response.close()
                return False
            if count == 0:
                threading.Thread(target=engine.drain, daemon=True).start()
        return True

    program, url = server()
    assert follow(program, url, 10) is False
    program.kill()
    program.end()
    program, url = server()
    assert follow(program, url, 30) is False
    assert follow(program, url, 10_000) is True

    events = api.done(api.get(f"/api/runs/{run}/events"))["items"]
    assert seen == [event["seq"] for event in events]
    assert events[-1]["type"] == "run.completed"
    assert "Traceback" not in program.log()


IMPATIENT = """
import api.stream

def post_worker_init(worker):
    api.stream.STALLED = 1
"""


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_client_that_takes_nothing_is_cut_off(
    api: Api, engine: Engine, settings: Settings, programs: StartProgram, tmp_path: Path
) -> None:
    api.define(DISPATCHED)
    run = api.done(api.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)["id"]
    for _ in range(200):
        with engine.deps.db.transaction() as session:
            queries.note(session, run, "own.event", {"much": "x" * 60_000})
    config = tmp_path / "impatient.py"
    config.write_text(IMPATIENT)
    served = replace(settings, broker_url="redis://127.0.0.1:1/0", sse_max=1)
    gunicorn = ("-m", "gunicorn", "-k", "gthread", "--threads", "4", "-c", str(config))
    program = programs(served, *gunicorn, "-b", "127.0.0.1:0", "api.app:create_app()")
    program.wait_until("Listening at", 30)
    found = re.search(r"Listening at: http://([0-9.]+):([0-9]+)", program.log())
    assert found is not None
    url = f"http://{found[1]}:{found[2]}/api/runs/{run}/stream"
    program.wait_until("Booting worker", 30)
    with socket.create_connection((found[1], int(found[2]))) as idle:
        idle.sendall(f"GET /api/runs/{run}/stream HTTP/1.1\r\nAuthorization: Bearer {api.key}\r\n\r\n".encode())
        assert idle.recv(8).startswith(b"HTTP/1.1")

        def status() -> int:
            headers = {"Authorization": f"Bearer {api.key}"}
            with requests.get(url, headers=headers, stream=True, timeout=20) as response:
                return response.status_code

        assert status() == 503
        poll(lambda: status() == 200, what="the idle client's place")
