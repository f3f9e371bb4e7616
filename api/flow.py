"""Chunks on their way into the events of their run: after their step has started, before it has ended.

Chunks are read after it was asked where the runs stand. So when an event that ends an attempt is shown, all of
the attempt's chunks are here; but the event that began it may come with the next question. Hence a chunk is shown
before the event that ends its attempt, or else with the next tick.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MOST_ENDED = 1_000  # attempts that are remembered as ended: a chunk that is late by more is shown late
_GOES_ON = frozenset({"step.started", "step.waiting", "step.resumed"})

Chunk = dict[str, Any]


@dataclass(slots=True)
class Flow:
    """One run's chunks that were not shown yet, and the attempts of its steps that have ended."""

    _due: list[Chunk] = field(default_factory=list)
    _new: list[Chunk] = field(default_factory=list)
    _ended: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def arrived(self, chunks: Iterable[Chunk]) -> None:
        """Chunks that were read in this tick, by id."""
        self._new += chunks

    def before(self, event: dict[str, Any]) -> list[Chunk]:
        """The chunks to be shown before an event: those of the attempt that it ends."""
        step, attempt = event.get("step"), event.get("data", {}).get("attempt")
        if step is None or attempt is None or event["type"] in _GOES_ON:
            return []
        mine = [
            chunk for chunk in (*self._due, *self._new) if self._shown(chunk) and _is_of(chunk, step, attempt)
        ]
        self._due = [chunk for chunk in self._due if not _is_of(chunk, step, attempt)]
        self._new = [chunk for chunk in self._new if not _is_of(chunk, step, attempt)]
        self._ended[step] = attempt
        self._ended.move_to_end(step)
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)
        return mine

    def tick(self) -> list[Chunk]:
        """The chunks to be shown after a tick's events: those that were read before it."""
        shown = [chunk for chunk in self._due if self._shown(chunk)]
        self._due, self._new = self._new, []
        return shown

    def _shown(self, chunk: Chunk) -> bool:
        """Whether its attempt goes on: what comes later than the end is not shown."""
        return bool(chunk["data"]["attempt"] > self._ended.get(chunk["step"], 0))


def _is_of(chunk: Chunk, step: str, attempt: int) -> bool:
    return bool(chunk["step"] == step and chunk["data"]["attempt"] <= attempt)
