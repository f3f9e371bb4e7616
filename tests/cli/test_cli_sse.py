"""Streams are read as the WHATWG standard says."""

from orchestrator.cli.sse import Message, messages


def test_fields_comments_and_many_data_lines() -> None:
    lines = [": heartbeat", "id: 7", "event: step.started", 'data: {"a":', "data:1}", "", ": bye"]
    assert list(messages(lines)) == [Message(event="step.started", data='{"a":\n1}', id="7")]
    assert next(messages(lines)).json() == {"a": 1}


def test_an_event_without_data_or_without_its_end_is_none() -> None:
    assert list(messages(["id: 1", "", "data: cut"])) == []


def test_names_default_as_in_the_standard() -> None:
    assert list(messages(["data: x", ""])) == [Message(event="message", data="x")]
