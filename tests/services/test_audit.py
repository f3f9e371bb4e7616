"""The audit log: written with the act, append-only, sealed in one chain by whoever has its turn."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.audit import Audit, AuditSeal, AuditUnsealed
from models.base import uuid7
from models.database import Database
from models.queries import audit
from models.queries.audit import AuditFilter
from orchestrator.core.audit import GENESIS, link
from orchestrator.services import auditing
from tests.support import engine
from tests.support.engine import Engine


@pytest.fixture
def one(database: Database) -> Engine:
    return engine.make(database)


def act(one: Engine, target: str) -> None:
    with one.deps.db.transaction() as session:
        auditing.record(session, one.actor, "thing.create", target, after={"name": target})


def acts(one: Engine) -> list[Audit]:
    with one.deps.db.read() as session:
        return list(session.scalars(select(Audit).order_by(Audit.id)))


def seals(one: Engine) -> list[AuditSeal]:
    with one.deps.db.read() as session:
        return list(session.scalars(select(AuditSeal).order_by(AuditSeal.position)))


def test_an_act_is_sealed_after_the_one_before(one: Engine) -> None:
    for number in range(3):
        act(one, f"thing:{number}")
    assert auditing.seal(one.deps).found == 3
    act(one, "thing:3")
    auditing.seal(one.deps)

    previous = GENESIS
    rows = {row.id: row for row in acts(one)}
    for position, seal in enumerate(seals(one), 1):
        assert (seal.position, seal.previous) == (position, previous)
        assert seal.digest == link(previous, auditing.content(rows.pop(seal.audit_id)))
        previous = seal.digest
    assert not rows
    with one.deps.db.read() as session:
        assert session.scalars(select(AuditUnsealed)).all() == []


def test_an_act_that_is_rolled_back_leaves_nothing(one: Engine) -> None:
    with one.deps.db.transaction() as session:
        auditing.record(session, one.actor, "thing.create", "thing:1")
        session.rollback()
    assert acts(one) == []
    assert auditing.seal(one.deps).found == 0


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_an_act_that_commits_late_is_sealed_as_well(one: Engine) -> None:
    with one.deps.db.transaction() as slow:
        auditing.record(slow, one.actor, "thing.create", "thing:slow")
        act(one, "thing:quick")
        assert auditing.seal(one.deps).found == 1
    assert auditing.seal(one.deps).found == 1

    late, quick = (row.id for row in acts(one))  # by id the late one is first
    assert [seal.audit_id for seal in seals(one)] == [quick, late]


def test_sealers_at_once_make_one_chain(one: Engine) -> None:
    begin = threading.Barrier(5)

    def work(number: int) -> None:
        begin.wait()
        for turn in range(10):
            act(one, f"thing:{number}-{turn}")
            auditing.seal(one.deps)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, range(5)))
    auditing.seal(one.deps)

    chain = seals(one)
    assert [seal.position for seal in chain] == list(range(1, 51))
    assert [seal.previous for seal in chain] == [GENESIS, *(seal.digest for seal in chain[:-1])]


@pytest.mark.parametrize("table", ["audit", "audit_seal"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "INSERT OR REPLACE", "TRUNCATE {}"])
def test_rows_stay_as_they_were_written(one: Engine, table: str, statement: str) -> None:
    sqlite = one.deps.db.is_sqlite
    if ("REPLACE" in statement and not sqlite) or ("TRUNCATE" in statement and sqlite):
        return
    act(one, "thing:1")
    auditing.seal(one.deps)
    key = "id" if table == "audit" else "audit_id"
    if "REPLACE" in statement:
        statement = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
    with one.deps.db.engine.connect() as connection:
        if sqlite:
            connection.execute(text("PRAGMA recursive_triggers = OFF"))
        else:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        with pytest.raises(IntegrityError, match="the audit log is append-only"):
            connection.execute(text(statement.format(table, key, key)))
        connection.rollback()
        if sqlite:
            connection.execute(text("PRAGMA recursive_triggers = ON"))


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "ix_audit_workspace_id_id"),
        ({"target": "thing:1"}, "ix_audit_workspace_id_target_id"),
        ({"actor": "somebody"}, "ix_audit_workspace_id_actor_id"),
        ({"action": "thing.create"}, "ix_audit_workspace_id_action_id"),
    ],
)
def test_a_page_is_read_in_the_order_of_an_index(one: Engine, wanted: dict[str, str], index: str) -> None:
    plan = explained(
        one, lambda session: audit.page(session, uuid7(), AuditFilter(**wanted), before=uuid7(), limit=50)
    )
    assert f"Index Scan Backward using {index} on audit" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_what_is_to_be_sealed_is_read_by_its_key(one: Engine) -> None:
    plan = explained(one, lambda session: audit.unsealed(session, 500))
    assert "using pk_audit_unsealed" in plan
    assert "using pk_audit " in plan


def _fill(session: Session) -> None:
    """Rows to choose an index for; they go with the transaction."""
    some = (
        "INSERT INTO audit (id, workspace_id, at, actor_id, actor, action, target, changes)"
        " SELECT gen_random_uuid(), gen_random_uuid(), now(), n::text, n::text, n::text, n::text, '[]'"
        " FROM generate_series(1, 2000) AS n"
    )
    for statement in (some, "ANALYZE audit", "ANALYZE audit_seal"):
        session.execute(text(statement))


def explained(one: Engine, read: Callable[[Session], object]) -> str:
    """How PostgreSQL would do what a function reads first."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        seen.append((statement, parameters))

    sqlalchemy.event.listen(one.deps.db.engine, "before_cursor_execute", note)
    try:
        with one.deps.db.read() as session:
            read(session)
            _fill(session)
            statement, parameters = seen[0]
            plan = session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
            found = "\n".join(row[0] for row in plan)
            session.rollback()
            return found
    finally:
        sqlalchemy.event.remove(one.deps.db.engine, "before_cursor_execute", note)
