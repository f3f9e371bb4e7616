"""Server-sent events, read from bytes as they come.

Source: WHATWG HTML, "Interpreting an event stream".
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event of a stream; `id` is None when the server gave none."""

    event: str
    data: str
    id: str | None = None

    def json(self) -> Any:
        return json.loads(self.data)


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The lines of a stream, without their ends. Not `splitlines`: U+2028 and others are no line ends here."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


def messages(lines: Iterable[str], moved: Callable[[str], None] = lambda _id: None) -> Iterator[Message]:
    """The events of a stream's lines. Comments are dropped, so is a cut last event.

    moved: told each id, just before its event, or where it comes without one.
    """
    fields: dict[str, list[str]] = {}
    for line in lines:
        if line == "":
            if "id" in fields:
                moved(fields["id"][-1])
            if "data" in fields:
                yield _message(fields)
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))


def _message(fields: dict[str, list[str]]) -> Message:
    return Message(
        event=fields.get("event", ["message"])[-1],
        data="\n".join(fields["data"]),
        id=fields["id"][-1] if "id" in fields else None,
    )
