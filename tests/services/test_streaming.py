"""The writer of streams: what it writes, in which order, and that nobody ever waits for it."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from models.base import uuid7
from models.database import Database
from models.event import Chunk
from models.queries import chunks as queries
from orchestrator.bridge import Piece
from orchestrator.services import streaming
from orchestrator.services.streaming import Chunks
from tests.support.polling import poll

RUN = uuid7()


@pytest.fixture
def writer(database: Database) -> Iterator[Chunks]:
    made = Chunks(database, lambda: ("hunter2",))
    yield made
    made.close()


def rows(database: Database) -> list[Chunk]:
    with database.read() as session:
        return list(session.scalars(select(Chunk).order_by(Chunk.id)))


def told(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    return [(row.type, row.step, row.data) for row in rows(database)]


def test_what_is_streamed_is_written_in_order_and_ends_with_done(database: Database, writer: Chunks) -> None:
    stream = writer.stream(RUN, "draft", 2)
    for number in range(100):
        stream(Piece(text=f"{number} ", tokens=number + 1))
    poll(lambda: rows(database), what="a first chunk")
    stream(Piece(text="end"))
    stream.end()

    found = told(database)  # committed when `end` returns
    assert [type_ for type_, _, _ in found] == ["stream.chunk"] * (len(found) - 1) + ["stream.done"]
    assert 2 <= len(found) - 1 <= 10  # joined, not one by one
    texts = [data for type_, _, data in found if type_ == "stream.chunk"]
    assert "".join(data["text"] for data in texts) == "".join(f"{no} " for no in range(100)) + "end"
    assert [data["index"] for data in texts] == list(range(len(texts)))
    assert texts[-1]["tokens"] == 100
    assert found[-1] == ("stream.done", "draft", {"attempt": 2, "chunks": len(texts), "tokens": 100})
    assert {data["attempt"] for data in texts} == {2}


def test_the_ids_of_purged_chunks_do_not_come_back(database: Database, writer: Chunks) -> None:
    seen = []
    for path in ("first", "second"):
        stream = writer.stream(RUN, path, 1)
        stream(Piece(text="x"))
        stream.end()
        seen += [row.id for row in rows(database)]
        with database.transaction() as session:
            session.execute(delete(Chunk))
    assert len(seen) == 4
    assert seen == sorted(set(seen))


def test_a_stream_of_nothing_costs_nothing(database: Database, writer: Chunks) -> None:
    stream = writer.stream(RUN, "draft", 1)
    stream.end()
    stream(Piece(text="late"))
    stream.end()
    assert writer._thread is None
    assert rows(database) == []


def test_a_long_piece_is_cut_and_what_comes_after_the_end_passed_over(
    database: Database, writer: Chunks
) -> None:
    text = "ü" * (streaming.CHUNK * 2 + 1)
    stream = writer.stream(RUN, "draft", 1)
    stream(Piece(text=text))
    stream.end()
    stream(Piece(text="late"))
    stream.end()
    *texts, done = told(database)
    assert [len(data["text"]) for _, _, data in texts] == [streaming.CHUNK, streaming.CHUNK, 1]
    assert done[2]["chunks"] == 3


def test_secrets_are_not_streamed_though_they_come_in_parts(database: Database, writer: Chunks) -> None:
    stream = writer.stream(RUN, "draft", 1)
    stream(Piece(text="the key is hun"))
    poll(lambda: rows(database), what="the first chunk")
    stream(Piece(text="ter2, and \ud83d"))
    poll(lambda: len(rows(database)) == 2, what="the second chunk")
    stream(Piece(text="\ude00"))
    stream.end()
    assert "".join(data.get("text", "") for _, _, data in told(database)) == "the key is ***, and 😀"
    assert all("hun" not in data.get("text", "") for _, _, data in told(database))


def test_ids_grow_in_the_order_of_commits_whoever_writes(database: Database) -> None:
    """Who reads up to an id, while many write, misses nothing below it."""
    writers = [Chunks(database) for _ in range(4)]
    run_ids = [uuid7() for _ in writers]
    stop = threading.Event()
    seen: list[int] = []

    def read() -> None:
        last = 0
        while not stop.is_set():
            with database.read() as session:
                for row in queries.after(session, last, run_ids, 10_000):
                    seen.append(row.id)
                    last = row.id

    def write(place: int) -> None:
        for number in range(30):
            stream = writers[place].stream(run_ids[place], f"s{number}", 1)
            stream(Piece(text="x"))
            stream.end()

    reader = threading.Thread(target=read)
    reader.start()
    working = [threading.Thread(target=write, args=(place,)) for place in range(len(writers))]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    every = [row.id for row in rows(database)]
    poll(lambda: len(seen) >= len(every), what="the reader to come to the end")
    stop.set()
    reader.join()
    for each in writers:
        each.close()
    assert seen == every
    assert len(every) == 4 * 30 * 2


def test_a_full_buffer_drops_pieces_and_leaves_a_gap(
    database: Database, writer: Chunks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BUFFER", 1_000)
    monkeypatch.setattr(streaming, "FLUSH", 0.3)
    stream, other = (writer.stream(RUN, path, 1) for path in ("draft", "other"))
    stream(Piece(text="a" * 600))
    stream(Piece(text="b" * 600))
    other(Piece(text="c" * 600, tokens=7))
    poll(lambda: len(rows(database)) == 2, what="what fits")
    stream(Piece(text="d"))
    stream.end()
    assert [(data["index"], data["text"][:1], data["tokens"]) for _, _, data in told(database)[:3]] == [
        (1, "a", None),
        (1, "", 7),
        (2, "d", None),
    ]


def test_a_database_that_is_away_costs_chunks_and_nothing_else(
    sqlite_template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "later" / "orchestrator.db"
    writer = Chunks(Database(f"sqlite:///{missing}"))
    stream = writer.stream(RUN, "draft", 1)
    began = time.monotonic()
    for _ in range(10_000):
        stream(Piece(text="lost "))
    assert time.monotonic() - began < 1.0
    for _ in range(2):
        writer.stream(RUN, "other", 1)(Piece(text="lost too"))
        poll(lambda: writer._failing and not writer._gathered, what="the writer to give up")
    missing.parent.mkdir()
    shutil.copyfile(sqlite_template, missing)
    stream(Piece(text="here"))
    stream.end()
    found = told(writer._db)
    assert [data.get("text") for type_, step, data in found if step == "draft"][-2:] == ["here", None]
    assert capsys.readouterr().out.count("chunks dropped") == 1
    writer.close()
    writer._db.close()


def test_the_end_waits_a_second_for_a_database_that_hangs(tmp_path: Path) -> None:
    class Hanging(Database):
        hanging = threading.Event()

        def transaction(self) -> Any:
            self.hanging.wait(5)
            return super().transaction()

    db = Hanging(f"sqlite:///{tmp_path}/x.db")
    writer = Chunks(db)
    stream = writer.stream(RUN, "draft", 1)
    stream(Piece(text="x"))
    began = time.monotonic()
    stream.end()
    assert 0.9 < time.monotonic() - began < 2.0
    db.hanging.set()
    writer.close()
    db.close()


def test_a_writer_that_is_closed_writes_what_it_has(database: Database, writer: Chunks) -> None:
    writer.stream(RUN, "draft", 1)(Piece(text="last words"))
    writer.close()
    assert [data["text"] for _, _, data in told(database)] == ["last words"]
    assert writer._thread is not None
    writer._thread.join(5)
    assert not writer._thread.is_alive()
