"""Live events of runs for many clients at the cost of one query a tick.

One thread a process asks where all followed runs stand, reads the new events of those that moved and what their
steps stream, and where somebody follows a workspace the journal: each one query, however many clients there are. It
renders an event once and hands the same bytes to every client. It runs only while somebody follows. A client holds no
database session.
"""

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, Protocol

import structlog

from api.flow import Chunk, Flow
from api.followers import Batch, Follower, batch
from api.watch import JournalSource, Watch
from orchestrator.services.feeds import Head
from orchestrator.services.watching import Picked, Place

TICK = 0.05
HEARTBEAT = 15.0
PAGE = 500
FRESH = 2_000  # new events that are read at once
CHUNKS = 1_000  # chunks read at once
HEART = b": heartbeat\n\n"

log = structlog.get_logger(__name__)


class Source(JournalSource, Protocol):
    """Where runs stand, their events, and the journal; each call is one short read of the database."""

    def heads(self, run_ids: Collection[str]) -> dict[str, Head]: ...

    def events(self, run_id: str, *, after: int, upto: int, limit: int) -> list[dict[str, Any]]: ...

    def fresh(self, spans: Mapping[str, tuple[int, int]], limit: int) -> list[dict[str, Any]]: ...

    def chunks(self, run_ids: Collection[str], *, after: int, limit: int) -> list[tuple[int, Chunk]]: ...

    def last_chunk(self) -> int: ...


@dataclass(slots=True, kw_only=True, eq=False)
class RunFollower(Follower[Batch]):
    """A client at a run: its batches go on after event `seq`, with which the run had `ended` or not."""

    seq: int
    ended: bool


@dataclass(slots=True, kw_only=True)
class _Feed:
    """A followed run, and how far its followers were served. since: the last chunk that was read, None: find out."""

    head: Head
    since: int | None = None
    flow: Flow = field(default_factory=Flow)
    followers: set[RunFollower] = field(default_factory=set)


class Hub:
    """One process's followers of runs and of workspaces."""

    def __init__(self, source: Source, *, tick: float = TICK, heartbeat: float = HEARTBEAT) -> None:
        self._source = source
        self._tick = tick
        self._heartbeat = heartbeat
        self._feeds: dict[str, _Feed] = {}
        self._watch = Watch(source)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def stream(self, run_id: str, after: int) -> Iterator[bytes]:
        """The run's events after number `after` as server-sent ones, then live ones until the run has ended.

        What steps stream is shown live, to those who have come to the end of the log and not beyond it.
        """
        yield f": events of run {run_id} after {after}\n\n".encode()
        seen, ended = after, False
        while not ended:
            follower = self._join(run_id)
            chunks = seen <= follower.seq
            try:
                for batch in chain(self._replay(run_id, follower, seen), self._live(follower)):
                    fresh = batch.after(seen, chunks=chunks)
                    seen = batch.last(seen)
                    ended = batch.ended
                    if not ended or fresh:
                        yield b"".join(fresh) or HEART
                    if ended:
                        break
            finally:
                self._leave(run_id, follower)

    def watch(self, picked: Picked, after: Place | None) -> Iterator[bytes]:
        """A workspace's events from after a place, None: from now, as server-sent ones, then live without an end.

        The place goes first, as an id without an event: a client that is cut off before the first one comes back to it.
        """
        place = self._source.journal_end() if after is None else after
        yield f": events of the workspace\nid: {place}\n\n".encode()
        while True:
            now = self._source.journal_end()
            with self._lock:
                watcher = self._watch.join(picked, now)
                self._wake()
            try:
                for text, reached in self._watch.replay(watcher, place):
                    place = reached
                    if text:
                        yield text
                while not watcher.exhausted:
                    told = watcher.take(self._heartbeat)
                    text, place = (HEART, place) if told is None else told.after(place)
                    if text:
                        yield text
            finally:
                with self._lock:
                    self._watch.leave(watcher)

    def wait(self, run_id: str, seconds: float) -> bool:
        """Wait until the run has ended; False when it has not within `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            follower = self._join(run_id)
            try:
                if follower.ended:
                    return True
                while not follower.exhausted:
                    batch = follower.take(deadline - time.monotonic())
                    if batch is None or batch.ended:
                        return batch is not None
            finally:
                self._leave(run_id, follower)

    def _replay(self, run_id: str, follower: RunFollower, after: int) -> Iterator[Batch]:
        """The events from after `after` to where the follower joined."""
        while after < follower.seq:
            page = self._source.events(run_id, after=after, upto=follower.seq, limit=PAGE)
            if not page:
                break
            after = page[-1]["seq"]
            yield batch(page, ended=False)
        if follower.ended:
            yield Batch(ended=True)

    def _live(self, follower: RunFollower) -> Iterator[Batch]:
        """Batches as they come, an empty one for a heartbeat, until the follower has fallen behind."""
        while not follower.exhausted:
            yield follower.take(self._heartbeat) or Batch()

    def _join(self, run_id: str) -> RunFollower:
        head = self._source.heads([run_id]).get(run_id, Head(seq=0, ended=True))
        with self._lock:
            feed = self._feeds.setdefault(run_id, _Feed(head=head))
            follower = RunFollower(seq=feed.head.seq, ended=feed.head.ended)
            feed.followers.add(follower)
            self._wake()
        return follower

    def _wake(self) -> None:
        """Start the thread that serves; the caller holds the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="event-hub", daemon=True)
            self._thread.start()

    def _leave(self, run_id: str, follower: RunFollower) -> None:
        with self._lock:
            feed = self._feeds[run_id]
            feed.followers.discard(follower)
            if not feed.followers:
                del self._feeds[run_id]

    def _serve(self) -> None:
        while self._followed():
            try:
                self._serve_once()
            except Exception:  # one thread serves every client: it outlives the database's absence
                log.exception("events can't be read; trying again")
                self._lose_place()
                time.sleep(1)
            time.sleep(self._tick)

    def _followed(self) -> bool:
        with self._lock:
            if not self._feeds and not self._watch.watched:
                self._thread = None
            return self._thread is not None

    def _lose_place(self) -> None:
        """The chunks of a server that crashed are gone, and their ids begin anew."""
        with self._lock:
            for feed in self._feeds.values():
                feed.since = None

    def _serve_once(self) -> None:
        with self._lock:
            feeds = dict(self._feeds)
        if feeds:
            self._serve_runs(feeds)
        with self._lock:
            watched = self._watch.watched
        if watched:
            self._watch.serve(self._lock)

    def _serve_runs(self, feeds: dict[str, _Feed]) -> None:
        heads = self._source.heads(feeds)
        self._read_chunks(feeds)
        now = {run_id: heads.get(run_id, Head(seq=feed.head.seq, ended=True)) for run_id, feed in feeds.items()}
        moved = {run_id for run_id, feed in feeds.items() if feed.head != now[run_id]}
        while moved:
            self._advance({run_id: feeds[run_id] for run_id in moved}, now)
            moved = {run_id for run_id in moved if feeds[run_id].head != now[run_id]}
        for run_id, feed in feeds.items():
            self._hand_out(run_id, feed, feed.head, batch(feed.flow.tick(), ended=False))

    def _read_chunks(self, feeds: dict[str, _Feed]) -> None:
        """Read the new chunks; of runs that are followed only now, find out where these begin."""
        known = {run_id: feed for run_id, feed in feeds.items() if feed.since is not None}
        if len(known) < len(feeds):
            last = self._source.last_chunk()
            for feed in feeds.values():
                feed.since = last if feed.since is None else feed.since
        after = min((feed.since or 0 for feed in known.values()), default=0)
        page: list[tuple[int, Chunk]] = []
        while known and (page := self._source.chunks(known, after=after, limit=CHUNKS)):
            for number, chunk in page:
                feed = known[chunk["run_id"]]
                if number > (feed.since or 0):
                    feed.flow.arrived([chunk])
            after = page[-1][0]
            for feed in known.values():  # ids grow in the order of commits: nobody has one below
                feed.since = max(feed.since or 0, after)
            if len(page) < CHUNKS:
                return

    def _advance(self, feeds: dict[str, _Feed], now: Mapping[str, Head]) -> None:
        """Serve one page of the events between where the followers of these runs stand and `now`."""
        spans = {run_id: (feed.head.seq, now[run_id].seq) for run_id, feed in feeds.items()}
        page = self._source.fresh(spans, FRESH)
        found = {run_id: [*events] for run_id, events in groupby(page, key=lambda event: str(event["run_id"]))}
        cut = page[-1]["run_id"] if len(page) == FRESH else None
        for run_id, feed in feeds.items():
            if cut is not None and run_id > cut:
                continue  # not read yet
            events = found.get(run_id, [])
            last = events[-1]["seq"] if events else now[run_id].seq
            head = now[run_id] if last == now[run_id].seq or run_id != cut else Head(seq=last, ended=False)
            told = [each for event in events for each in (*feed.flow.before(event), event)]
            self._hand_out(run_id, feed, head, batch(told, ended=head.ended))

    def _hand_out(self, run_id: str, feed: _Feed, head: Head, told: Batch) -> None:
        """Give a batch to the followers, who then stand at `head`."""
        if feed.head == head and not told.frames:
            return
        with self._lock:
            feed.head = head
            if self._feeds.get(run_id) is feed:
                for follower in feed.followers:
                    follower.offer(told)
