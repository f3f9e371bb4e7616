"""Those who follow a workspace: they share one place in the journal, which the hub's thread moves."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from api.followers import Follower, placed, render
from orchestrator.services.watching import Picked, Place, Told, ToldPage

PAGE = 500


class JournalSource(Protocol):
    """The journal; each call is one short read of the database."""

    def journal_end(self) -> Place: ...

    def journal(self, after: Place, limit: int, picked: Picked | None = None) -> ToldPage: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Some events of a workspace, each rendered, by place."""

    frames: tuple[tuple[Told, bytes], ...]

    @property
    def size(self) -> int:
        return len(self.frames)

    @property
    def passing(self) -> bool:
        return False

    def after(self, place: Place) -> tuple[bytes, Place]:
        """What a client has not seen of it, and its place then."""
        fresh = []
        for told, rendered in self.frames:
            if not place.covers(told.entry):
                place = place.joined(told.entry.cursor)
                fresh.append(placed(place, rendered))
        return b"".join(fresh), place


@dataclass(slots=True, kw_only=True, eq=False)
class Watcher(Follower[Entries]):
    """A client at a workspace."""

    picked: Picked


class Watch:
    """The watchers of one process, by what they picked. The hub's lock guards them, and is not held in a read."""

    def __init__(self, source: JournalSource) -> None:
        self._source = source
        self._place: Place | None = None
        self._watchers: dict[Picked, set[Watcher]] = defaultdict(set)

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    def join(self, picked: Picked, now: Place) -> Watcher:
        """Take part from a place on that was just read."""
        if self._place is None or not self._watchers:
            self._place = now
        watcher = Watcher(picked=picked)
        self._watchers[picked].add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        self._watchers[watcher.picked].discard(watcher)
        if not self._watchers[watcher.picked]:
            del self._watchers[watcher.picked]

    def replay(self, watcher: Watcher, place: Place) -> Iterator[tuple[bytes, Place]]:
        """What a watcher picked from after a place to now, in pieces, each with the place after it."""
        more = True
        while more:
            page = self._source.journal(place, PAGE, watcher.picked)
            text, _ = Entries(frames=_rendered(page.told)).after(place)
            place, more = page.place, page.more
            yield text, place

    def serve(self, lock: Lock) -> None:
        """Hand out what is new."""
        assert self._place is not None
        more, place = True, self._place
        while more:
            page = self._source.journal(place, PAGE)
            place, more = page.place, page.more
            frames = _rendered(page.told)
            with lock:
                self._place = place
                for picked, watchers in self._watchers.items():
                    mine = Entries(frames=tuple(frame for frame in frames if picked.holds(frame[0])))
                    for watcher in watchers if mine.frames else ():
                        watcher.offer(mine)


def _rendered(told: Iterable[Told]) -> tuple[tuple[Told, bytes], ...]:
    return tuple((each, render(each.event)) for each in told)
