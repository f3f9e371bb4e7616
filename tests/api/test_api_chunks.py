"""What steps stream, on the run's stream: in its place among the events, live only, never at an event's cost."""

import json
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from api.followers import MOST
from api.hub import Hub
from orchestrator.bridge import Piece
from orchestrator.core.outcome import Succeeded
from orchestrator.services import waking
from orchestrator.services.feeds import Head
from tests.api.conftest import Api
from tests.api.sources import OneRun
from tests.api.test_api_stream import server
from tests.support.engine import Engine
from tests.support.polling import poll
from tests.support.programs import Program
from tests.support.soundness import assert_run_sound

__all__ = ["server"]
ENDS = ("step.completed", "step.failed", "step.retrying", "step.queued", "step.aborted")


def frames(text: str) -> list[dict[str, Any]]:
    """The events of a stream's text; chunks have no id, events their number."""
    found = []
    for block in text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        event = json.loads(fields["data"])
        assert fields["event"] == event["type"]
        assert fields.get("id") == (None if event["seq"] is None else str(event["seq"]))
        found.append(event)
    return found


@dataclass
class History(OneRun):
    """What was committed in which order; every read sees what was committed when it is made.

    Between two reads, as many commits happen as `passes` says.
    """

    commits: list[dict[str, Any]]
    passes: Callable[[], int]
    position: int = 0
    asked: list[int] = field(default_factory=list)

    def heads(self, run_ids: Collection[str]) -> dict[str, Head]:
        return {run_id: Head(seq=len(self._seen("seq")), ended=False) for run_id in run_ids}

    def events(self, run_id: str, *, after: int, upto: int, limit: int) -> list[dict[str, Any]]:
        return self._seen("seq")[after : min(upto, after + limit)]

    def chunks(self, run_ids: Collection[str], *, after: int, limit: int) -> list[tuple[int, Any]]:
        return [(each["id"], each["chunk"]) for each in self._seen("id") if each["id"] > after][:limit]

    def last_chunk(self) -> int:
        found = len(self._seen("id"))
        self.asked.append(found)
        return found

    def _seen(self, key: str) -> list[dict[str, Any]]:
        self.position = min(len(self.commits), self.position + self.passes())
        return [each for each in self.commits[: self.position] if key in each]


def history(random: Random) -> list[dict[str, Any]]:
    """Some steps that stream, each try from its start to its end, mixed in any order."""
    tracks = [_track(random, f"s{no}") for no in range(random.randint(1, 4))]
    mixed = []
    while tracks:
        track = random.choice(tracks)
        mixed.append(track.pop(0))
        if not track:
            tracks.remove(track)
    events = chunks = 0
    for each in mixed:
        if "chunk" in each:
            chunks += 1
            each["id"] = chunks
        else:
            events += 1
            each["seq"] = events
    return mixed


def _track(random: Random, step: str) -> list[dict[str, Any]]:
    def event(type_: str, attempt: int) -> dict[str, Any]:
        return {"type": type_, "run_id": "r", "step": step, "data": {"attempt": attempt}}

    found = [event("step.queued", 0)]
    for attempt in range(1, random.randint(2, 4)):
        found.append(event("step.started", attempt))
        for index in range(random.randint(0, 4)):
            data = {"attempt": attempt, "index": index, "text": "x"}
            chunk = {"seq": None, "type": "stream.chunk", "run_id": "r", "step": step, "data": data}
            found.append({"chunk": chunk})
            if random.random() < 0.2:
                found.append(event(random.choice(("step.waiting", "step.resumed")), attempt))
        found.append(event(random.choice(ENDS), attempt))
    return found


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3))
def test_chunks_come_after_the_start_and_before_the_end_of_their_attempt(
    seed: int, page: int, chunks: int
) -> None:
    random = Random(seed)
    log = History(history(random), lambda: random.choice((0, 0, 1, 1, 2, 5)))
    hub = Hub(log, tick=3600)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("api.hub.FRESH", page)
        patched.setattr("api.hub.CHUNKS", chunks)
        patched.setattr(hub, "_serve", lambda: None)
        follower = hub._join("r")
        while log.position < len(log.commits):
            hub._serve_once()
        for _ in range(3):
            hub._serve_once()
    begin = follower.seq
    shown: list[dict[str, Any]] = []
    while (batch := follower.take(0)) is not None:
        shown += [each for _, text in batch.frames for each in frames(text.decode())]
    assert not follower.behind

    events = [each for each in log.commits if "seq" in each]
    assert [each["seq"] for each in shown if each["seq"] is not None] == [
        each["seq"] for each in events[begin:]
    ]
    told = [{**each, "chunk": None} for each in events[:begin]] + shown
    state: dict[str, tuple[int, bool]] = {}
    for each in told:
        step, attempt = each["step"], each["data"]["attempt"]
        if each["type"] == "stream.chunk":
            assert state.get(step) == (attempt, True), (each, shown)
        elif each["type"] == "step.started":
            state[step] = (attempt, True)
        elif each["type"] in ENDS:
            state[step] = (attempt, False)
    expected = [each["chunk"] for each in log.commits if each.get("id", 0) > log.asked[0]]
    seen = [each for each in shown if each["seq"] is None]
    for step in {each["step"] for each in expected}:  # none lost, none twice, in order within a step
        assert [each for each in seen if each["step"] == step] == [
            each for each in expected if each["step"] == step
        ]
    assert len(seen) == len(expected)


@dataclass
class Flood(OneRun):
    """A run whose only step streams without end, and whose events a test writes."""

    seq: int = 1
    ended: bool = False
    number: int = 0
    ticks: int = 0

    def heads(self, run_ids: Collection[str]) -> dict[str, Head]:
        self.ticks += 1
        return {run_id: Head(seq=self.seq, ended=self.ended) for run_id in run_ids}

    def events(self, run_id: str, *, after: int, upto: int, limit: int) -> list[dict[str, Any]]:
        return [
            {"seq": seq, "type": "step.started", "run_id": run_id, "step": "a", "data": {"attempt": 1}}
            for seq in range(after + 1, upto + 1)
        ]

    def chunks(self, run_ids: Collection[str], *, after: int, limit: int) -> list[tuple[int, Any]]:
        self.number += 1
        data = {"attempt": 1, "index": self.number, "text": "x"}
        chunk = {"seq": None, "type": "stream.chunk", "run_id": "r", "step": "a", "data": data}
        return [(self.number, chunk)]

    def last_chunk(self) -> int:
        return self.number


def test_a_slow_client_loses_chunks_and_no_event() -> None:
    flood = Flood()
    hub = Hub(flood, tick=0.0005)
    stream = hub.stream("r", 0)
    begun = [next(stream), next(stream)]
    for _ in range(20):
        before = flood.ticks
        poll(lambda before=before: flood.ticks > before + 20, what="some ticks")
        flood.seq += 1
    follower = next(iter(hub._feeds["r"].followers))
    assert not follower.behind
    assert follower.waiting - follower.taken <= MOST // 2 + 21
    flood.ended = True
    found = frames(b"".join([*begun, *stream]).decode())
    assert [each["seq"] for each in found if each["seq"] is not None] == list(range(1, 22))
    indexes = [each["data"]["index"] for each in found if each["seq"] is None]
    assert indexes == sorted(set(indexes))
    assert 0 < len(indexes) < flood.number


def test_a_stream_from_beyond_the_log_is_silent() -> None:
    flood = Flood()
    hub = Hub(flood, tick=0.001, heartbeat=0.01)
    stream = hub.stream("r", 10**15)
    text = b"".join(next(stream) for _ in range(5)).decode()
    stream.close()
    assert frames(text) == []


def test_after_a_fault_the_place_among_chunks_is_found_anew() -> None:
    class Crashed(Flood):
        def heads(self, run_ids: Collection[str]) -> dict[str, Head]:
            found = super().heads(run_ids)
            if self.ticks == 20:
                self.number = 0  # the table was emptied, its ids begin anew
                raise ConnectionError
            return found

    crashed = Crashed()
    stream = Hub(crashed, tick=0.001).stream("r", 0)
    poll_until = iter(frames(b"".join([next(stream)]).decode()))
    assert list(poll_until) == []
    seen: list[int] = []
    while crashed.ticks < 40 or len(seen) < 30:
        seen += [each["data"]["index"] for each in frames(next(stream).decode()) if each["seq"] is None]
    stream.close()
    assert min(seen[-5:]) < 25  # of the ids that began anew


WAITS = {"name": "waits", "nodes": [{"id": "a", "type": "probe", "does": {"wait": "an agent"}}], "edges": []}


class Followed(threading.Thread):
    """A client of a real API process, from the run's beginning to its end."""

    def __init__(self, url: str, key: str, run: str) -> None:
        super().__init__()
        self.text = ""
        self.url = f"{url}/api/runs/{run}/stream"
        self.key = key
        self.start()

    def run(self) -> None:
        with requests.get(
            self.url, headers={"Authorization": f"Bearer {self.key}"}, stream=True, timeout=30
        ) as response:
            response.raise_for_status()
            for part in response.iter_content(chunk_size=None):
                self.text += part.decode()

    def seen(self) -> list[dict[str, Any]]:
        whole, _, _ = self.text.rpartition("\n\n")
        return frames(whole)


def test_two_api_processes_show_what_a_step_streams_while_it_does(
    api: Api,
    engine: Engine,
    server: Callable[[], tuple[Program, str]],
) -> None:
    api.define(WAITS)
    run = api.run("waits")["id"]
    assert api.key is not None
    clients = [Followed(server()[1], api.key, run) for _ in range(2)]
    for client in clients:
        poll(lambda client=client: "step.waiting" in client.text, what="the replay")
    stream = engine.deps.chunks.stream(run, "a", 1)
    words: list[str] = []
    for number in range(5):
        words.append(f"word{number} ")
        stream(Piece(text=words[-1], tokens=number + 1))
        for client in clients:
            poll(lambda client=client, word=words[-1]: word in client.text, what=words[-1])
    assert all("step.completed" not in client.text for client in clients)
    stream.end()
    engine.send(waking.settle(engine.deps, run, 0, 1, Succeeded(output={"text": "".join(words)})))
    for client in clients:
        client.join(20)
        assert not client.is_alive()
        found = client.seen()
        log = api.done(api.get(f"/api/runs/{run}/events"))["items"]
        assert [each for each in found if each["seq"] is not None] == log
        chunks = [each for each in found if each["type"] == "stream.chunk"]
        assert "".join(each["data"]["text"] for each in chunks) == "".join(words)
        assert {(each["run_id"], each["step"], each["data"]["attempt"]) for each in chunks} == {(run, "a", 1)}
        types = [each["type"] for each in found]
        started, done, completed = (
            types.index(name) for name in ("step.started", "stream.done", "step.completed")
        )
        assert started < types.index("stream.chunk") < done < completed
        assert found[done]["data"] == {"attempt": 1, "chunks": len(chunks), "tokens": 5}
    replay = api.get(f"/api/runs/{run}/stream").text
    assert "stream." not in replay
    engine.deps.chunks.close()
    assert_run_sound(engine.deps, run)
