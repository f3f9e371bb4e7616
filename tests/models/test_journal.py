"""The journal: every event once, in order within its run, whatever transactions are slow. On both databases."""

import threading
from collections import defaultdict

import pytest
from sqlalchemy import insert, text

from models.base import uuid7
from models.database import Database
from models.queries import journal, operational, runs, subscribers
from models.queries.journal import Cursor
from models.run import Run, RunData
from models.workflow import Workflow, WorkflowVersion
from models.workspace import Workspace
from tests.support.polling import poll


@pytest.fixture
def workspace(database: Database) -> str:
    return _workspace(database)


@pytest.fixture
def two_runs(database: Database, workspace: str) -> list[str]:
    return [_run(database, workspace) for _ in range(2)]


def test_events_come_in_order_and_in_pages(database: Database, two_runs: list[str]) -> None:
    start = _end(database)
    for number in range(7):
        _note(database, two_runs[number % 2], f"own.n{number}")
    found = _read(database, start, 7, limit=3)
    assert [entry.type for entry in found] == [f"own.n{number}" for number in range(7)]
    assert [entry.seq for entry in found] == [1, 1, 2, 2, 3, 3, 4]
    assert [entry.run_id for entry in found[:2]] == two_runs
    again = _read(database, found[3].cursor, 3)
    assert [entry.seq for entry in again] == [3, 3, 4]


def test_events_of_no_run_come_too(database: Database, workspace: str, two_runs: list[str]) -> None:
    start = _end(database)
    _note(database, two_runs[0], "own.event")
    for agent in ("a", "b", "c"):
        with database.transaction() as session:
            operational.note(session, "agent.online", [(workspace, {"agent": agent})])
    found = _read(database, start, 4, limit=2)
    assert [(entry.type, entry.run_id, entry.workspace_id) for entry in found] == [
        ("own.event", two_runs[0], workspace),
        *[("agent.online", None, workspace)] * 3,
    ]
    assert [entry.data["agent"] for entry in found[1:]] == ["a", "b", "c"]
    assert not _read(database, found[-1].cursor)


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["*"], 4),
        ([], 4),
        (["own.*"], 2),
        (["own.one", "agent.*"], 2),
        (["own_x.*"], 0),
        (["other.deep.*"], 1),
    ],
)
def test_a_filter_moves_past_what_does_not_match(
    database: Database, workspace: str, two_runs: list[str], types: list[str], expected: int
) -> None:
    start = _end(database)
    for type_ in ("own.one", "own.two", "other.deep.three"):
        _note(database, two_runs[0], type_)
    with database.transaction() as session:
        operational.note(session, "agent.online", [(workspace, {})])
    last = _read(database, start, 4)[-1].cursor
    found, place, more = 0, start, True
    while more:
        with database.read() as session:
            page = journal.after(session, place, 1, types=types)
        found, place, more = found + len(page.entries), page.cursor, page.more
    assert found == expected
    assert _read(database, last) == _read(database, place) == []


def test_another_workspace_sees_nothing(database: Database, two_runs: list[str]) -> None:
    start = _end(database)
    _note(database, two_runs[0], "own.event")
    _read(database, start, 1)
    with database.read() as session:
        assert not journal.after(session, start, 10, workspace_id=_workspace(database)).entries


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_what_a_slower_transaction_wrote_is_waited_for(database: Database, two_runs: list[str]) -> None:
    start = _end(database)
    with database.transaction() as slow:
        runs.note(slow, two_runs[0], "own.slow", {})
        _note(database, two_runs[1], "own.fast")
        assert not _read(database, start)
    assert {entry.type for entry in _read(database, start, 2)} == {"own.slow", "own.fast"}


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_transaction_that_waited_for_the_run_comes_after_what_it_waited_for(
    database: Database, two_runs: list[str]
) -> None:
    run, other = two_runs
    start = _end(database)
    with database.transaction() as first:
        runs.note(first, other, "own.before", {})  # it has its number, and then waits for the run
        begun = threading.Event()

        def overtake() -> None:
            with database.transaction() as second:
                runs.note(second, run, "own.overtook", {})
                begun.set()
                poll(lambda: _waits(database), what="a transaction that waits for the run")

        thread = threading.Thread(target=overtake)
        thread.start()
        assert begun.wait(10)
        runs.note(first, run, "own.waited", {})
        thread.join()
    pages = _read(database, start, 3, limit=1)
    assert [entry.type for entry in pages if entry.run_id == run] == ["own.overtook", "own.waited"]


def test_nothing_is_missed_or_out_of_order_under_load(database: Database, workspace: str) -> None:
    shared = [_run(database, workspace) for _ in range(4)]
    place = _end(database)
    seen: dict[str, list[int]] = defaultdict(list)
    writers = [threading.Thread(target=_write, args=(database, shared, no)) for no in range(6)]
    for writer in writers:
        writer.start()

    def read() -> Cursor:
        with database.read() as session:
            page = journal.after(session, place, 7)
        for entry in page.entries:
            seen[str(entry.run_id)].append(entry.seq or 0)
        return page.cursor

    while any(writer.is_alive() for writer in writers):
        place = read()
    with database.read() as session:
        last = {run: runs.seq(session, run) for run in shared}
    while sum(len(seqs) for seqs in seen.values()) < sum(last.values()):
        place = read()
    assert sum(last.values()) == 6 * 25 * 2
    assert dict(seen.items()) == {run: [*range(1, n + 1)] for run, n in last.items()}


def test_a_subscriber_begins_at_the_end_and_goes_on(database: Database, two_runs: list[str]) -> None:
    before = _end(database)
    _note(database, two_runs[0], "own.before")
    _read(database, before, 1)
    with database.transaction() as session:
        assert subscribers.look(session, "someone") is None
        start = subscribers.take(session, "someone")
        assert start is not None
        assert not journal.after(session, start, 10).entries
    _note(database, two_runs[0], "own.after")
    _read(database, start, 1)
    with database.transaction() as session:
        place = subscribers.take(session, "someone")
        assert place == start
        page = journal.after(session, start, 10)
        subscribers.move(session, "someone", page.cursor)
    assert [entry.type for entry in page.entries] == ["own.after"]
    with database.read() as session:
        assert subscribers.look(session, "someone") == page.cursor


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_one_at_a_time_is_a_subscriber(database: Database) -> None:
    with database.transaction() as first:
        assert subscribers.take(first, "someone") is not None
    with database.transaction() as first, database.transaction() as second:
        assert subscribers.take(first, "someone") is not None
        assert subscribers.take(second, "someone") is None


@pytest.mark.parametrize("malformed", ["", "1.2", "1.x.3.4.5", "a.b.c.d.e", "-1.{id}.0.0.0", "1.{dashes}.0.0.0"])
def test_a_malformed_cursor_is_refused(malformed: str) -> None:
    with pytest.raises(ValueError, match="is no cursor"):
        Cursor.parse(malformed.format(id=uuid7(), dashes="-" * 36))


def test_a_cursor_reads_back() -> None:
    cursor = Cursor(xid=2**40, run_id=uuid7(), seq=7, other_xid=5, other_id=9)
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_page_is_read_through_the_index(database: Database, two_runs: list[str]) -> None:
    query = (
        f"SELECT xid, run_id, seq FROM event WHERE xid >= 5 AND (xid > 5 OR (run_id, seq) > ('{two_runs[0]}', 3))"
        " AND xid < 900 ORDER BY xid, run_id, seq OFFSET 99 LIMIT 1"
    )
    with database.read() as session:
        plan = "\n".join(session.scalars(text(f"EXPLAIN {query}")))
    assert "ix_event_xid" in plan
    assert "Seq Scan" not in plan


def _write(database: Database, shared: list[str], no: int) -> None:
    for turn in range(25):
        with database.transaction() as session:
            if not database.is_sqlite:
                session.execute(text("SELECT pg_current_xact_id()"))  # numbered before it has the run
            run = shared[(no + turn) % 4]
            runs.note(session, run, "own.first", {})
            runs.note(session, run, "own.second", {})


def _read(database: Database, start: Cursor, count: int = 0, *, limit: int = 100) -> list[journal.Entry]:
    """What comes after a cursor, once it is so many: others' transactions may hold it back for a moment."""

    def read() -> list[journal.Entry]:
        found, more, place = [], True, start
        while more:
            with database.read() as session:
                page = journal.after(session, place, limit)
            found += page.entries
            more, place = page.more, page.cursor
        return found

    return poll(lambda: found if len(found := read()) >= count else [], what="the events") if count else read()


def _end(database: Database) -> Cursor:
    with database.read() as session:
        return journal.end(session)


def _note(database: Database, run: str, type_: str) -> None:
    with database.transaction() as session:
        runs.note(session, run, type_, {})


def _waits(database: Database) -> bool:
    with database.read() as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(session.scalar(text(query)))


def _workspace(database: Database) -> str:
    workspace = uuid7()
    with database.transaction() as session:
        session.execute(insert(Workspace).values(id=workspace, name=workspace, created_at=runs.now(session)))
    return workspace


def _run(database: Database, workspace: str) -> str:
    run, at = uuid7(), runs.now
    with database.transaction() as session:
        named = {"id": run, "workspace_id": workspace, "name": run, "current_version": 1}
        session.execute(insert(Workflow).values(**named, created_at=at(session), updated_at=at(session)))
        version = {"id": run, "workflow_id": run, "number": 1, "digest": "d", "definition": {}, "plan": "{}"}
        cost = {"classification": {}, "estimated_cost_cents": 0, "estimate_is_lower_bound": False}
        session.execute(insert(WorkflowVersion).values(**version, **cost, created_at=at(session)))
        row = {"workflow_id": run, "version_id": run, "status": "running", "seq": 0, "open_steps": 0}
        kept = {"priority": 0, "has_budget": False, "cost_microcents": 0, "created_at": at(session)}
        session.execute(insert(Run).values(id=run, workspace_id=workspace, **row, **kept))
        session.execute(insert(RunData).values(run_id=run, inputs={}, variables={}, labels={}))
    return run
