"""The workspace's events: found, newest first, and followed live without a gap or a double."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from api.followers import MOST
from api.hub import Hub
from models.queries import journal, operational, runs
from orchestrator.services import watching
from orchestrator.services.watching import Picked, Place, ToldPage
from tests.api.conftest import DISPATCHED, ROUTED, Api
from tests.api.sources import OneRun
from tests.api.test_api_stream import parse_watched as parse
from tests.support.engine import Engine
from tests.support.polling import poll


@pytest.fixture
def defined(api: Api) -> Api:
    for definition in (ROUTED, DISPATCHED):
        api.define(definition)
    return api


def test_events_are_found_newest_first(defined: Api, engine: Engine) -> None:
    first = defined.run("triage", inputs={"amount": 1})["id"]
    second = defined.run("dispatched", inputs={"n": 1})["id"]
    with engine.deps.db.transaction() as session:
        operational.note(session, "agent.online", [(engine.actor.workspace_id, {"agent": "a"})])

    found = _all(defined)
    assert found[0]["type"] == "agent.online"
    assert found[0]["seq"] is None
    assert "run_id" not in found[0]
    logs = {run: defined.done(defined.get(f"/api/runs/{run}/events"))["items"] for run in (first, second)}
    assert found[1:] == [*reversed(logs[second]), *reversed(logs[first])]
    assert _all(defined, limit=3) == found
    assert _all(defined, run=first) == [*reversed(logs[first])]
    assert _all(defined, run=first, limit=2) == [*reversed(logs[first])]
    assert _all(defined, workflow="dispatched") == [*reversed(logs[second])]
    assert [event["type"] for event in _all(defined, types="run.completed,agent.*")] == [
        "agent.online",
        "run.completed",
        "run.completed",
    ]
    middle = logs[second][0]["at"]
    assert all(event["at"] > middle for event in _all(defined, after=middle))
    assert all(event["at"] < middle for event in _all(defined, before=middle))
    assert len(_all(defined, after=middle)) + len(_all(defined, before=middle)) < len(found)
    assert _all(defined, workflow="nobody") == _all(defined, run="nobody") == []


def test_what_is_rare_is_found_over_several_pages(defined: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        defined.run("triage", inputs={"amount": 1})
    monkeypatch.setattr("models.queries.event_search.LOOKED_AT", 4)
    assert len(_all(defined, types="run.created")) == 3
    assert len(_all(defined)) == len(_all(defined, limit=2))


def test_another_workspace_finds_nothing(defined: Api) -> None:
    run = defined.run("triage", inputs={"amount": 1})["id"]
    elsewhere = defined.elsewhere()
    assert _all(elsewhere) == _all(elsewhere, run=run) == _all(elsewhere, workflow="triage") == []


@pytest.mark.parametrize(
    "query", [{"types": "run"}, {"types": "Run.*"}, {"types": "*.x"}, {"types": ",".join(["a.b"] * 51)}, {"x": "1"}]
)
def test_a_malformed_search_is_refused(api: Api, query: dict[str, str]) -> None:
    assert api.get("/api/events", **query).status_code == 422
    assert api.get("/api/events/stream", **query).status_code == 422


@pytest.mark.parametrize("last", ["7", "x", "1.2.3", f"1.{'-' * 36}.0.0.0"])
def test_a_malformed_place_is_refused(api: Api, last: str) -> None:
    assert api.call("GET", "/api/events/stream", headers={"Last-Event-ID": last}).status_code == 422


def test_a_workspace_is_followed_live_and_resumed(defined: Api, engine: Engine) -> None:
    with engine.deps.db.read() as session:
        start = str(journal.end(session))
    first = defined.run("triage", inputs={"amount": 1})["id"]
    stream = defined.call("GET", f"/api/events/stream?after={start}", buffered=False)
    following = _blocks(stream.iter_encoded())
    log = defined.done(defined.get(f"/api/runs/{first}/events"))["items"]
    seen = [next(following) for _ in log]
    second = defined.run("dispatched", inputs={"n": 1})["id"]
    live = defined.done(defined.get(f"/api/runs/{second}/events"))["items"]
    seen += [next(following) for _ in live]
    stream.close()

    assert [event for _, event in seen] == log + live
    cut = defined.call(
        "GET", "/api/events/stream?types=step.*", headers={"Last-Event-ID": seen[2][0]}, buffered=False
    )
    left = [event for event in (log + live)[3:] if event["type"].startswith("step.")]
    again = _blocks(cut.iter_encoded())
    assert [next(again)[1] for _ in left] == left
    cut.close()


def test_a_client_that_is_cut_off_before_its_first_event_misses_none(defined: Api) -> None:
    stream = defined.call("GET", "/api/events/stream?types=run.created", buffered=False)
    first = next(stream.iter_encoded()).decode()
    stream.close()
    run = defined.run("triage", inputs={"amount": 1})["id"]
    comment, place, *end = first.split("\n")
    assert (comment[0], place[:4], end) == (":", "id: ", ["", ""])
    headers = {"Last-Event-ID": place.removeprefix("id: ")}
    again = defined.call("GET", "/api/events/stream?types=run.created", headers=headers, buffered=False)
    assert next(_blocks(again.iter_encoded()))[1]["run_id"] == run
    again.close()


def test_a_stream_of_one_run_and_of_some_types(defined: Api, engine: Engine) -> None:
    with engine.deps.db.read() as session:
        start = str(journal.end(session))
    defined.run("triage", inputs={"amount": 1})
    run = defined.run("dispatched", inputs={"n": 1})["id"]
    path = f"/api/events/stream?run={run}&types=run.*&after={start}"
    stream = defined.call("GET", path, buffered=False)
    following = _blocks(stream.iter_encoded())
    assert [next(following)[1]["type"] for _ in range(3)] == ["run.created", "run.started", "run.completed"]
    stream.close()


def test_watchers_see_each_event_once_under_load(defined: Api, engine: Engine) -> None:
    """Runs are written to from several threads while watchers come, read at their own pace, and come back."""
    deps = engine.deps
    hub = Hub(_Journal(deps), tick=0.002)
    begun = [
        defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)["id"] for _ in range(3)
    ]
    with deps.db.read() as session:
        start = journal.end(session)
    writers = [threading.Thread(target=_write, args=(engine, begun, no)) for no in range(3)]
    for writer in writers:
        writer.start()
    picked = Picked(workspace_id=engine.actor.workspace_id, types=("own.*",))
    results: list[list[tuple[str, int]]] = []
    watchers = [
        threading.Thread(target=lambda cut=cut: results.append(_watch(hub, picked, start, 180, cut)))
        for cut in (7, 50, 1000)
    ]
    for watcher in watchers:
        watcher.start()
    for thread in (*writers, *watchers):
        thread.join(60)
    for seen in results:
        for run in begun:
            numbers = [seq for run_id, seq in seen if run_id == run]
            assert numbers == sorted(set(numbers))
        assert len(seen) == 180
    assert len(results) == 3


def test_a_watcher_that_falls_behind_reads_on_from_the_journal(defined: Api, engine: Engine) -> None:
    hub = Hub(_Journal(engine.deps), tick=0.002)
    run = defined.done(defined.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)["id"]
    with engine.deps.db.read() as session:
        start = journal.end(session)
    picked = Picked(workspace_id=engine.actor.workspace_id, types=("own.*",))
    stream = hub.watch(picked, start)
    _note(engine, run, 1)
    following = _blocks(stream)
    seen = [next(following)[1]]
    watcher = next(iter(next(iter(hub._watch._watchers.values()))))
    while not watcher.behind:
        _note(engine, run, MOST // 4)
        poll(lambda: _reached(hub, engine), what="the hub at the journal's end")
    _note(engine, run, 5)
    with engine.deps.db.read() as session:
        last = runs.seq(session, run)
    while seen[-1]["seq"] < last:
        seen.append(next(following)[1])
    stream.close()
    assert [event["seq"] for event in seen] == list(range(last - len(seen) + 1, last + 1))
    assert watcher.waiting - watcher.taken <= MOST


class _Journal(OneRun):
    """The journal of a database, and no run."""

    def __init__(self, deps: Any) -> None:
        self._deps = deps

    def heads(self, _run_ids: Any) -> dict[str, Any]:
        return {}

    def chunks(self, _run_ids: Any, *, after: int, limit: int) -> list[tuple[int, Any]]:
        return []

    def last_chunk(self) -> int:
        return 0

    def journal_end(self) -> Place:
        return watching.end(self._deps)

    def journal(self, after: Place, limit: int, picked: Picked | None = None) -> ToldPage:
        return watching.after(self._deps, after, min(limit, 20), picked)


def _reached(hub: Hub, engine: Engine) -> bool:
    place = hub._watch._place
    assert place is not None
    with engine.deps.db.read() as session:
        return not journal.after(session, place, 1).entries


def _watch(hub: Hub, picked: Picked, start: Place, count: int, cut: int) -> list[tuple[str, int]]:
    """What a client sees that comes back after every `cut` events."""
    seen: list[tuple[str, int]] = []
    place = start
    while len(seen) < count:
        stream = hub.watch(picked, place)
        for taken, (last, event) in enumerate(_blocks(stream), 1):
            seen.append((event["run_id"], event["seq"]))
            place = Place.parse(last)
            if taken == cut or len(seen) == count:
                break
        stream.close()
    return seen


def _write(engine: Engine, begun: list[str], no: int) -> None:
    for turn in range(20):
        with engine.deps.db.transaction() as session:
            for _ in range(3):
                runs.note(session, begun[(no + turn) % 3], "own.event", {})


def _note(engine: Engine, run: str, count: int) -> None:
    for _ in range(count):
        with engine.deps.db.transaction() as session:
            runs.note(session, run, "own.event", {})


def _blocks(chunks: Iterator[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    for chunk in chunks:
        yield from parse(chunk.decode())


def _all(api: Api, **query: Any) -> list[dict[str, Any]]:
    found, cursor = [], None
    while True:
        page = api.done(api.get("/api/events", **query, **({} if cursor is None else {"cursor": cursor})))
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
