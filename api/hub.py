"""Live events of runs for many clients at the cost of one query a tick.

One thread a process asks where all followed runs stand, reads the new events of those that moved and what their
steps stream, renders it once and hands the same bytes to every client. It runs only while somebody follows. A
client holds no database session.
"""

import json
import queue
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

import structlog

from api.flow import Chunk, Flow
from orchestrator.services.feeds import Head

TICK = 0.05
HEARTBEAT = 15.0
QUEUE = 256
PAGE = 500
CHUNKS = 1_000  # chunks read at once

log = structlog.get_logger(__name__)


class Source(Protocol):
    """Where runs stand and their events; each call is one short read of the database."""

    def heads(self, run_ids: Collection[str]) -> dict[str, Head]: ...

    def events(self, run_id: str, *, after: int, upto: int, limit: int) -> list[dict[str, Any]]: ...

    def chunks(self, run_ids: Collection[str], *, after: int, limit: int) -> list[tuple[int, Chunk]]: ...

    def last_chunk(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rendered events by number, chunks without one; `ended`: the run had ended with the last of them."""

    frames: tuple[tuple[int | None, bytes], ...] = ()
    ended: bool = False

    @property
    def passing(self) -> bool:
        """Whether it holds chunks alone, which a client can do without."""
        return not self.ended and all(seq is None for seq, _ in self.frames)

    def after(self, seen: int, *, chunks: bool) -> list[bytes]:
        """What a client has not seen of it."""
        return [text for seq, text in self.frames if (chunks if seq is None else seq > seen)]

    def last(self, seen: int) -> int:
        """The number of the last event that a client has seen with it."""
        return max([seen, *(seq for seq, _ in self.frames if seq is not None)])


@dataclass(slots=True, kw_only=True, eq=False)
class Follower:
    """One client's place at a run: `batches` go on after event `seq`, with which the run had `ended` or not.

    behind: the client did not keep up; what follows the batches that are left it reads from the database. Before it
    comes to that, chunks are left out.
    """

    seq: int
    ended: bool
    batches: queue.Queue[Batch] = field(default_factory=lambda: queue.Queue(QUEUE))
    behind: bool = False

    def offer(self, batch: Batch) -> None:
        if self.behind or (batch.passing and self.batches.qsize() >= QUEUE // 2):
            return
        try:
            self.batches.put_nowait(batch)
        except queue.Full:
            self.behind = True

    def take(self, seconds: float) -> Batch | None:
        """The next batch; None when there was none for so long."""
        try:
            return self.batches.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    @property
    def exhausted(self) -> bool:
        return self.behind and self.batches.empty()


@dataclass(slots=True, kw_only=True)
class _Feed:
    """A followed run, and how far its followers were served. since: the last chunk that was read, None: find out."""

    head: Head
    since: int | None = None
    flow: Flow = field(default_factory=Flow)
    followers: set[Follower] = field(default_factory=set)


class Hub:
    """One process's followers of runs."""

    def __init__(self, source: Source, *, tick: float = TICK, heartbeat: float = HEARTBEAT) -> None:
        self._source = source
        self._tick = tick
        self._heartbeat = heartbeat
        self._feeds: dict[str, _Feed] = {}
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
                        yield b"".join(fresh) or b": heartbeat\n\n"
                    if ended:
                        break
            finally:
                self._leave(run_id, follower)

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

    def _replay(self, run_id: str, follower: Follower, after: int) -> Iterator[Batch]:
        """The events from after `after` to where the follower joined."""
        while after < follower.seq:
            page = self._source.events(run_id, after=after, upto=follower.seq, limit=PAGE)
            if not page:
                break
            after = page[-1]["seq"]
            yield _batch(page, ended=False)
        if follower.ended:
            yield Batch(ended=True)

    def _live(self, follower: Follower) -> Iterator[Batch]:
        """Batches as they come, an empty one for a heartbeat, until the follower has fallen behind."""
        while not follower.exhausted:
            yield follower.take(self._heartbeat) or Batch()

    def _join(self, run_id: str) -> Follower:
        head = self._source.heads([run_id]).get(run_id, Head(seq=0, ended=True))
        with self._lock:
            feed = self._feeds.setdefault(run_id, _Feed(head=head))
            follower = Follower(seq=feed.head.seq, ended=feed.head.ended)
            feed.followers.add(follower)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="event-hub", daemon=True)
                self._thread.start()
        return follower

    def _leave(self, run_id: str, follower: Follower) -> None:
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
            if not self._feeds:
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
        heads = self._source.heads(feeds)
        self._read_chunks(feeds)
        for run_id, feed in feeds.items():
            now = heads.get(run_id, Head(seq=feed.head.seq, ended=True))
            while feed.head != now:
                self._advance(run_id, feed, now)
            self._hand_out(run_id, feed, feed.head, _batch(feed.flow.tick(), ended=False))

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

    def _advance(self, run_id: str, feed: _Feed, now: Head) -> None:
        """Serve one page of the events between where the followers stand and `now`."""
        page = self._source.events(run_id, after=feed.head.seq, upto=now.seq, limit=PAGE)
        last = page[-1]["seq"] if page else now.seq
        head = now if last == now.seq else Head(seq=last, ended=False)
        told = [each for event in page for each in (*feed.flow.before(event), event)]
        self._hand_out(run_id, feed, head, _batch(told, ended=head.ended))

    def _hand_out(self, run_id: str, feed: _Feed, head: Head, batch: Batch) -> None:
        """Give a batch to the followers, who then stand at `head`."""
        with self._lock:
            moved, feed.head = feed.head != head, head
            if self._feeds.get(run_id) is feed and (moved or batch.frames):
                for follower in feed.followers:
                    follower.offer(batch)


def _batch(events: list[dict[str, Any]], *, ended: bool) -> Batch:
    return Batch(frames=tuple((event["seq"], render(event)) for event in events), ended=ended)


def render(event: dict[str, Any]) -> bytes:
    """An event as a server-sent one (WHATWG HTML, 9.2); one without a number moves no client's place."""
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    place = "" if event["seq"] is None else f"id: {event['seq']}\n"
    return f"{place}event: {event['type']}\ndata: {data}\n\n".encode()
