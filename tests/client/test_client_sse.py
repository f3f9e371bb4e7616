"""Streams are read as the WHATWG standard says."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.client.sse import Message, lines, messages


def test_fields_comments_and_many_data_lines() -> None:
    lines = [": heartbeat", "id: 7", "event: step.started", 'data: {"a":', "data:1}", "", ": bye"]
    assert list(messages(lines)) == [Message(event="step.started", data='{"a":\n1}', id="7")]
    assert next(messages(lines)).json() == {"a": 1}


def test_an_event_without_data_or_without_its_end_is_none() -> None:
    assert list(messages(["id: 1", "", "data: cut"])) == []


def test_an_id_moves_the_place_with_an_event_or_without() -> None:
    moved: list[str] = []
    found = messages(["id: 1", "", "id: 2", "data: x", "", "data: y", "", "id: 3"], moved.append)
    assert [(message.data, list(moved)) for message in found] == [("x", ["1", "2"]), ("y", ["1", "2"])]


def test_names_default_as_in_the_standard() -> None:
    assert list(messages(["data: x", ""])) == [Message(event="message", data="x")]


@given(st.text(), st.data())
def test_lines_are_the_same_however_the_bytes_are_cut(text: str, data: st.DataObject) -> None:
    raw = text.encode() + b"\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)) | {0, len(raw)})
    chunks = [raw[start:end] for start, end in itertools.pairwise(cuts)]
    assert list(lines(chunks)) == [line.removesuffix("\r") for line in text.split("\n")]


def test_a_line_that_is_cut_is_none() -> None:
    assert list(lines([b"data: a\r", b"\ndata: b"])) == ["data: a"]
