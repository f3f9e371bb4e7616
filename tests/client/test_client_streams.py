"""Following a run through cuts, restarts and lines that are not what they seem: every event once, in order."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.client import Client, ConnectionFailed, NotFound, Unauthorized
from orchestrator.client.answers import Event
from orchestrator.client.request import Request
from tests.client.conftest import PLAIN, Serve, Served
from tests.support.polling import poll

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

NODES = [{"id": f"n{number}", "type": "transform", "expression": str(number)} for number in range(20)]
LONG = {"name": "long", "nodes": NODES, "edges": [" >> ".join(node["id"] for node in NODES)]}


BEGINNING = "0.00000000-0000-0000-0000-000000000000.0.0.0"


@pytest.fixture
def run(client: Client, served: Served) -> str:
    """A run of 20 steps that has not begun to work."""
    served.work.clear()
    client.workflows.create(LONG)
    run_id = client.runs.start("long")["id"]
    served.faults.seen.clear()
    return run_id


def streams(served: Served) -> list[str | None]:
    return [request.last_event_id for request in served.faults.seen if request.path.endswith("/stream")]


def assert_whole(client: Client, run: str, seen: list[Event]) -> None:
    assert seen == list(client.runs.log(run))
    assert seen[-1]["type"] == "run.completed"


def test_a_run_is_followed_live_to_its_end(client: Client, served: Served, run: str) -> None:
    seen = []
    for event in client.runs.events(run):
        served.work.set()
        seen.append(event)
    assert_whole(client, run, seen)
    assert streams(served) == ["0"]


def test_a_stream_that_is_cut_goes_on_where_it_was(client: Client, served: Served, run: str) -> None:
    def work_once_it_is_back() -> None:
        poll(lambda: len(streams(served)) == 2, what="a second stream")
        served.work.set()

    seen: list[Event] = []
    thread = threading.Thread(target=work_once_it_is_back)
    thread.start()
    for event in client.runs.events(run):
        seen.append(event)
        if len(seen) in (1, 30):
            served.proxy.cut()
    thread.join()
    assert_whole(client, run, seen)
    assert streams(served)[1] in ("1", "2", "3")


def test_a_stream_outlives_the_api(client: Client, served: Served, run: str) -> None:
    events = client.runs.events(run)
    seen = [next(events)]
    served.leave()
    served.work.set()
    threading.Timer(0.7, served.proxy.accept).start()
    seen += events
    assert_whole(client, run, seen)


def test_refused_streams_are_asked_for_again(client: Client, served: Served, run: str) -> None:
    # a stream, then how the run stands; twice each
    served.faults.plan += [PLAIN, (502, [], b""), None, (429, [("Retry-After", "1")], b"")]
    seen = []
    for event in client.runs.events(run):
        served.work.set()
        seen.append(event)
    assert_whole(client, run, seen)
    assert streams(served) == ["0"] * 3


def test_a_stream_that_ends_before_its_run_is_opened_again(client: Client, served: Served, run: str) -> None:
    ending = (200, [("Content-Type", "text/event-stream")], b": going\n\n")
    served.faults.plan += [ending, None, ending]  # between them the client asks how the run stands
    seen = []
    for event in client.runs.events(run):
        served.work.set()
        seen.append(event)
    assert_whole(client, run, seen)
    assert streams(served) == ["0"] * 3


def test_what_a_cut_stream_owed_of_an_ended_run_is_read_from_the_log(
    client: Client, served: Served, run: str
) -> None:
    served.work.set()
    client.runs.wait(run)
    served.faults.plan += ["lost"]
    assert_whole(client, run, list(client.runs.events(run)))


def test_events_after_the_last_are_none(client: Client, served: Served, run: str) -> None:
    served.work.set()
    client.runs.wait(run)
    log = list(client.runs.log(run))
    assert list(client.runs.events(run, after=log[-1]["seq"])) == []
    assert list(client.runs.events(run, after=3)) == log[3:]


def test_a_cut_right_after_the_end_changes_nothing(client: Client, served: Served, run: str) -> None:
    served.work.set()
    seen: list[Event] = []
    for event in client.runs.events(run):
        seen.append(event)
        if event["type"] == "run.completed":
            served.proxy.cut()
    assert_whole(client, run, seen)


def frame(event: dict[str, Any]) -> bytes:
    place = f"id: {event['seq']}\n" if event["seq"] is not None else ""
    return f"{place}event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def chunk(run: str, text: str) -> dict[str, Any]:
    told = {"attempt": 1, "index": 0, "text": text, "tokens": None}
    return {"seq": None, "type": "stream.chunk", "run_id": run, "step": "n0", "at": "", "data": told}


def test_chunks_between_events_move_no_place(client: Client, served: Served, run: str) -> None:
    log = list(client.runs.log(run))
    served.faults.seen.clear()
    first = [chunk(run, "one"), log[0], chunk(run, "two"), log[1], chunk(run, "three")]
    cut = (200, [("Content-Type", "text/event-stream")], b"".join(map(frame, first)))
    served.faults.plan += [cut]
    seen = []
    for event in client.runs.stream(run):
        seen.append(event)
        if len(seen) > len(first):  # of the second stream
            served.work.set()
    assert seen[:5] == first
    assert [event for event in seen if event["seq"] is not None] == list(client.runs.log(run))
    assert streams(served)[:2] == ["0", str(log[1]["seq"])]


def test_events_leave_chunks_out(client: Client, served: Served, run: str) -> None:
    spoilt = (200, [("Content-Type", "text/event-stream")], frame(chunk(run, "one")))
    served.faults.plan += [spoilt]
    served.work.set()
    assert_whole(client, run, list(client.runs.events(run)))


def test_line_separators_within_text_end_no_line(client: Client) -> None:
    text = "one\u2028two\u0085three\x0bfour\r\nfive"
    node = {"id": "only", "type": "set", "values": {"said": text}}
    client.workflows.create({"name": "separators", "nodes": [node]})
    run = client.runs.start("separators")["id"]
    seen = list(client.runs.events(run))
    assert text in [event["data"]["value"] for event in seen if event["type"] == "variable.set"]
    assert_whole(client, run, seen)


def test_what_may_not_be_followed_is_refused_at_once(client: Client, served: Served, run: str) -> None:
    with pytest.raises(NotFound):
        next(client.runs.events("01980000-0000-7000-8000-000000000000"))
    with pytest.raises(NotFound):
        client.runs.wait("01980000-0000-7000-8000-000000000000")
    with served.client("ork_wrong") as nobody, pytest.raises(Unauthorized):
        next(nobody.runs.events(run))


def test_who_stops_listening_gives_the_place_back(serve: Serve) -> None:
    served = serve(sse_max=1)
    served.work.clear()
    with served.client() as client:
        client.workflows.create(LONG)
        run = client.runs.start("long")["id"]
        events = client.runs.events(run)
        next(events)
        events.close()
        served.work.set()
        assert_whole(client, run, list(client.runs.events(run)))


def test_a_wait_reads_no_event_and_asks_little(client: Client, served: Served, run: str) -> None:
    threading.Timer(0.3, served.work.set).start()
    assert client.runs.wait(run)["status"] == "success"
    assert streams(served) == [str(10**15)]
    assert len(served.faults.seen) == 3


def test_a_wait_outlives_cuts_and_the_api(client: Client, served: Served, run: str) -> None:
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(client.runs.wait(run)))
    thread.start()
    poll(lambda: streams(served), what="a stream")
    served.leave()
    served.work.set()
    threading.Timer(0.5, served.proxy.accept).start()
    thread.join(60)
    assert ended[0]["status"] == "success"


def test_a_paused_run_is_waited_for(client: Client, served: Served, run: str) -> None:
    client.runs.pause(run)

    def go_on() -> Iterator[Event]:
        for event in client.runs.events(run):
            if event["type"] == "run.paused":
                served.work.set()
                client.runs.resume(run)
            yield event

    assert_whole(client, run, list(go_on()))


def test_a_stream_without_chunks_is_read_as_it_comes(serve: Serve) -> None:
    served = serve(old=True)
    served.work.clear()
    with served.client() as client:
        client.workflows.create(LONG)
        run = client.runs.start("long")["id"]
        seen = []
        for event in client.runs.events(run):
            served.work.set()
            seen.append(event)
            if len(seen) == 9:
                served.proxy.cut()
        assert_whole(client, run, seen)


def test_a_stream_that_falls_silent_counts_as_cut(client: Client, served: Served, run: str) -> None:
    transport = client.runs._transport
    with transport.stream(Request(method="GET", path=f"/api/runs/{run}/stream"), 0, 0.2) as lines:
        assert next(lines).startswith(": events")
        served.proxy.freeze()
        with pytest.raises(ConnectionFailed, match="timed out"):
            list(lines)
    served.proxy.thaw()


def test_a_wait_needs_no_place_to_stream(serve: Serve) -> None:
    served = serve(sse_max=0)
    served.work.clear()
    with served.client() as client:
        client.workflows.create(LONG)
        run = client.runs.start("long")["id"]
        threading.Timer(0.2, served.work.set).start()
        assert client.runs.wait(run)["status"] == "success"


def test_a_workspace_is_followed_through_cuts(client: Client, served: Served, run: str) -> None:
    seen = []
    following = client.events.follow(types=["step.*", "run.*"], place=BEGINNING)
    for found in following:
        served.work.set()
        seen.append(found.event)
        if len(seen) in (2, 30):
            served.proxy.cut()
        if found.event["type"] == "run.completed":
            break
    following.close()
    assert seen == list(client.runs.log(run))
    assert seen == [*reversed(list(client.events.list(run=run, types=["step.*", "run.*"])))]
    client.runs.start("long")
    assert next(client.events.follow(place=found.place, types=["run.*"])).event["type"] == "run.created"
