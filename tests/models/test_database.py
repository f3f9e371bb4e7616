"""Transactions, writers side by side, column types and URLs, on both databases."""

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from models.base import dump_json, uuid7
from models.database import Database, parse_url
from models.errors import SettingsError
from models.operation import IdempotentAnswer, Stamp
from tests.support.programs import ROOT

AT = datetime(2026, 1, 31, 8, 0, 0, 250000, tzinfo=UTC)
INCREMENT = """
import sys
from sqlalchemy import text
from models.database import Database

database = Database(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with database.transaction() as session:
        found = session.execute(text("SELECT status FROM idempotent_answer")).scalar_one()
        session.execute(text("UPDATE idempotent_answer SET status = :n"), {"n": found + 1})
"""


def put(database: Database, body: Any = "", status: int = 0) -> None:
    with database.transaction() as session:
        session.execute(
            insert(IdempotentAnswer).values(
                workspace_id=uuid7(), key="k", digest="d", status=status, body=body, headers={}, created_at=AT
            )
        )


def count(database: Database) -> int:
    with database.read() as session:
        return session.execute(select(IdempotentAnswer.status)).scalar_one()


def test_a_transaction_commits_at_its_end(database: Database) -> None:
    put(database, status=3)
    assert count(database) == 3


def test_an_exception_rolls_everything_back(database: Database) -> None:
    def write_and_fail() -> None:
        with database.transaction() as session:
            session.execute(update(IdempotentAnswer).values(status=9))
            raise LookupError

    put(database)
    with pytest.raises(LookupError):
        write_and_fail()
    assert count(database) == 0


def test_a_refused_statement_leaves_the_next_transaction_whole(database: Database) -> None:
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.execute(insert(Stamp), [{"name": "twice", "at": AT}] * 2)
    put(database, status=1)
    assert count(database) == 1


def test_a_read_does_not_wait_for_a_writer(database: Database) -> None:
    put(database, status=1)
    with database.transaction() as session:
        session.execute(update(IdempotentAnswer).values(status=2))
        assert count(database) == 1
    assert count(database) == 2


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_writers_in_threads_and_processes_lose_nothing(database: Database, database_url: str) -> None:
    put(database)

    def increment() -> None:
        for _ in range(25):
            with database.transaction() as session:
                found = session.execute(text("SELECT status FROM idempotent_answer")).scalar_one()
                session.execute(text("UPDATE idempotent_answer SET status = :n"), {"n": found + 1})

    processes = [
        subprocess.Popen([sys.executable, "-c", INCREMENT, database_url, "100"], cwd=ROOT) for _ in range(2)
    ]
    threads = [threading.Thread(target=increment) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [process.wait(60) for process in processes] == [0, 0]
    assert count(database) == 8 * 25 + 2 * 100


def test_moments_come_back_aware_and_in_utc(database: Database) -> None:
    moments = {
        "utc": AT,
        "east": AT.astimezone(timezone(timedelta(hours=9))),
        "early": datetime(1970, 1, 1, tzinfo=UTC),
        "late": datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC),
    }
    with database.transaction() as session:
        session.execute(insert(Stamp), [{"name": name, "at": at} for name, at in moments.items()])
    with database.read() as session:
        found = dict(session.execute(select(Stamp.name, Stamp.at)).all())
    assert found == moments
    assert {at.tzinfo for at in found.values()} == {UTC}


def test_moments_compare_in_the_database(database: Database) -> None:
    with database.transaction() as session:
        session.execute(insert(Stamp).values(name="at", at=AT))
    with database.read() as session:
        for shift, expected in ((1, 1), (-1, 0)):
            query = select(Stamp.name).where(Stamp.at < AT + timedelta(microseconds=shift))
            assert len(session.execute(query).all()) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"b": 1, "a": [True, None, 1.5, "ü 😀 \x01", {"": []}]},
        [],
        "text",
        0,
        -(2**63),
        2**63 - 1,
        1e308,
        False,
        {"1": {"2": {"3": "</script>"}}},
    ],
)
def test_json_comes_back_as_it_was(database: Database, value: Any) -> None:
    put(database, body=value)
    with database.read() as session:
        found = session.execute(select(IdempotentAnswer.body)).scalar_one()
        stored = session.execute(text("SELECT body FROM idempotent_answer")).scalar_one()
    assert found == value
    assert type(found) is type(value)
    assert stored == dump_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"x": [float("-inf")]}])
def test_json_refuses_what_is_no_json(database: Database, value: Any) -> None:
    with pytest.raises(Exception, match="Out of range float values are not JSON compliant"):
        put(database, body=value)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_sqlite_takes_its_clock_from_us(database_url: str) -> None:
    other = Database(database_url, clock=lambda: 12.5)
    with other.read() as session:
        assert session.execute(text("SELECT db_now()")).scalar_one() == 12.5
    other.close()


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_postgresql_sessions_give_up_waiting(database: Database) -> None:
    with database.read() as session:
        found = [
            session.execute(text(f"SHOW {name}")).scalar_one()
            for name in (
                "lock_timeout",
                "statement_timeout",
                "idle_in_transaction_session_timeout",
                "timezone",
            )
        ]
    assert found == ["30s", "1min", "5s", "UTC"]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_frozen_client_loses_its_locks(database: Database) -> None:
    def frozen() -> None:
        with database.transaction() as session:
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
            session.execute(text("SELECT pg_advisory_xact_lock(7)"))
            with database.transaction() as other:
                other.execute(text("SELECT pg_advisory_xact_lock(7)"))
            session.execute(text("SELECT 1"))

    with pytest.raises(OperationalError):
        frozen()


def test_ids_sort_by_time_and_differ(new_ids: Callable[[int], list[str]]) -> None:
    ids = new_ids(1000)
    assert len(set(ids)) == 1000
    assert sorted(ids, key=lambda id_: id_[:18]) == ids
    assert {(id_[14], id_[19] in "89ab") for id_ in ids} == {("7", True)}


@pytest.fixture
def new_ids() -> Callable[[int], list[str]]:
    return lambda number: [uuid7() for _ in range(number)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@h:5/d", "postgresql+psycopg2://u:p@h:5/d"),
        ("postgres://h/d", "postgresql+psycopg2://h/d"),
        ("db+postgresql://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql+psycopg2://h/d?sslmode=require", "postgresql+psycopg2://h/d?sslmode=require"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("db+sqlite:///b.db", "sqlite:///b.db"),
        ("sqlite+pysqlite:///b.db", "sqlite:///b.db"),
    ],
)
def test_urls(given: str, expected: str) -> None:
    assert parse_url(given).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    "given", ["mysql://h/d", "postgresql+asyncpg://h/d", "sqlite+aiosqlite:///x", "", "d"]
)
def test_other_urls_are_refused_with_a_remedy(given: str) -> None:
    with pytest.raises(SettingsError, match=r"ORCHESTRATOR_DATABASE_URL.*[Ww]rite postgresql://"):
        parse_url(given)
