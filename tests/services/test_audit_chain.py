"""`audit verify` finds whatever somebody does to the log who may do all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, text

from models.database import Database
from orchestrator.cli.main import main
from orchestrator.core.audit import GENESIS, link
from orchestrator.services import audit_chain, auditing
from orchestrator.services.audit_chain import Anchor, Verified
from tests.support import engine
from tests.support.engine import Engine

TABLES = ("audit", "audit_seal")


@pytest.fixture
def one(database: Database) -> Engine:
    """An engine whose log has five sealed acts."""
    made = engine.make(database)
    for number in range(5):
        act(made, number)
    auditing.seal(made.deps)
    return made


def act(one: Engine, number: int) -> None:
    with one.deps.db.transaction() as session:
        auditing.record(session, one.actor, "thing.update", f"thing:{number}", after={"n": number}, reason="why not")


@contextmanager
def superuser(one: Engine) -> Iterator[Connection]:
    """A transaction in which no trigger guards the log."""
    with one.deps.db.engine.begin() as connection:
        if one.deps.db.is_sqlite:
            query = f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN {TABLES}"
            triggers = connection.execute(text(query)).all()
            for name, _ in triggers:
                connection.execute(text(f"DROP TRIGGER {name}"))
            yield connection
            for _, statement in triggers:
                connection.exec_driver_sql(statement)
            return
        for table in TABLES:
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        yield connection
        for table in TABLES:
            for kind in ("row", "truncate"):
                connection.execute(text(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_refuse_{kind}"))


def verified(one: Engine, anchor: Anchor | None = None) -> Verified:
    return audit_chain.verify(one.deps, anchor)


def found(one: Engine, anchor: Anchor | None = None) -> list[tuple[int | None, str]]:
    return [(each.position, each.message) for each in verified(one, anchor).breaks]


AT = "(SELECT audit_id FROM audit_seal WHERE position = {})"


def test_a_log_that_nobody_touched_holds(one: Engine) -> None:
    head = verified(one).head
    assert head is not None
    assert head.position == 5
    act(one, 6)
    assert verified(one, head) == Verified(head=head, waiting=1, breaks=())
    auditing.seal(one.deps)
    assert found(one, head) == []
    assert found(engine.make(one.deps.db)) == []


def test_an_empty_log_holds(database: Database) -> None:
    assert verified(engine.make(database)) == Verified(head=None, waiting=0, breaks=())


@pytest.mark.parametrize(
    "change",
    [
        *("actor = 'mallory'", "actor_id = 'x'", "reason = NULL", "target = 'thing:9'", "action = 'thing.read'"),
        *("after = NULL", "before = 'x'", "changes = '[]'", "source = '10.0.0.1'"),
    ],
)
def test_a_changed_row_is_found(one: Engine, change: str) -> None:
    with superuser(one) as connection:
        connection.execute(text(f"UPDATE audit SET {change} WHERE id = {AT.format(3)}"))
    ((position, message),) = found(one)
    assert position == 3
    assert message.endswith("or its link was changed")


def test_a_row_moved_in_time_is_found(one: Engine) -> None:
    later = "at + 0.000001" if one.deps.db.is_sqlite else "at + interval '1 microsecond'"
    with superuser(one) as connection:
        connection.execute(text(f"UPDATE audit SET at = {later} WHERE id = {AT.format(1)}"))
    assert [position for position, _ in found(one)] == [1]


def test_a_deleted_row_is_found(one: Engine) -> None:
    with superuser(one) as connection:
        connection.execute(text(f"DELETE FROM audit WHERE id = {AT.format(2)}"))
    ((position, message),) = found(one)
    assert position == 2
    assert message.endswith("is gone")


def test_a_row_deleted_with_its_link_is_found(one: Engine) -> None:
    with superuser(one) as connection:
        connection.execute(text(f"DELETE FROM audit WHERE id = {AT.format(2)}"))
        connection.execute(text("DELETE FROM audit_seal WHERE position = 2"))
    assert found(one) == [(2, "the links up to 2 are gone")]


def test_a_gap_that_is_closed_again_is_found(one: Engine) -> None:
    with superuser(one) as connection:
        connection.execute(text(f"DELETE FROM audit WHERE id = {AT.format(2)}"))
        connection.execute(text("DELETE FROM audit_seal WHERE position = 2"))
        for position in (3, 4, 5):
            connection.execute(text(f"UPDATE audit_seal SET position = {position - 1} WHERE position = {position}"))
    assert found(one) == [(2, "does not follow the link before it")]


def test_exchanged_rows_are_found(one: Engine) -> None:
    with superuser(one) as connection:
        connection.execute(text("UPDATE audit_seal SET position = 9 WHERE position = 2"))
        connection.execute(text("UPDATE audit_seal SET position = 2 WHERE position = 3"))
        connection.execute(text("UPDATE audit_seal SET position = 3 WHERE position = 9"))
    assert {position for position, _ in found(one)} == {2, 3, 4}


def test_a_row_put_in_past_the_engine_is_found(one: Engine) -> None:
    columns = "workspace_id, at, actor_id, actor, action, target, changes"
    with one.deps.db.engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO audit (id, {columns})"
                f" SELECT '00000000-0000-7000-8000-000000000000', {columns} FROM audit WHERE id = {AT.format(1)}"
            )
        )
    ((position, message),) = found(one)
    assert position is None
    assert "written past the engine" in message


def test_a_row_deleted_before_it_was_sealed_is_found(one: Engine) -> None:
    act(one, 7)
    with superuser(one) as connection:
        connection.execute(text("DELETE FROM audit WHERE target = 'thing:7'"))
    ((position, message),) = found(one)
    assert position is None
    assert "had no link yet" in message


def test_an_end_that_is_cut_off_is_found_by_its_rows_or_by_an_anchor(one: Engine) -> None:
    head = verified(one).head
    assert head is not None
    with superuser(one) as connection:
        connection.execute(text("DELETE FROM audit_seal WHERE position > 3"))
    assert len(found(one)) == 2
    with superuser(one) as connection:
        connection.execute(text("DELETE FROM audit WHERE target IN ('thing:3', 'thing:4')"))
    assert found(one) == []
    assert [position for position, _ in found(one, head)] == [5]


def test_a_chain_written_anew_is_found_by_an_anchor(one: Engine) -> None:
    head = verified(one).head
    with superuser(one) as connection:
        connection.execute(text(f"UPDATE audit SET actor = 'mallory' WHERE id = {AT.format(4)}"))
    previous = GENESIS
    with one.deps.db.read() as session:
        rows = audit_chain.audit_chain.links(session, 0, 10)
    with superuser(one) as connection:
        for seal, row in rows:
            assert row is not None
            digest = link(previous, auditing.content(row))
            statement = "UPDATE audit_seal SET digest = :digest, previous = :previous WHERE position = :position"
            connection.execute(
                text(statement), {"digest": digest, "previous": previous, "position": seal.position}
            )
            previous = digest
    assert found(one) == []
    assert [position for position, _ in found(one, head)] == [5]


def test_a_trigger_that_is_off_is_found(one: Engine) -> None:
    with superuser(one):
        pass
    assert found(one) == []
    if one.deps.db.is_sqlite:
        off = "DROP TRIGGER audit_refuse_update"
    else:
        off = "ALTER TABLE audit ENABLE TRIGGER audit_refuse_row"  # not always: a replica's role would pass
    with one.deps.db.engine.begin() as connection:
        connection.execute(text(off))
    ((_, message),) = found(one)
    assert message.endswith("is gone or switched off")


def test_the_command_ends_with_1_where_the_chain_is_broken(
    one: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    whole = CliRunner().invoke(main, ["audit", "verify"])
    assert whole.exit_code == 0, whole.output
    head = whole.output.splitlines()[-1].removeprefix("head ")
    assert CliRunner().invoke(main, ["audit", "verify", "--anchor", head]).exit_code == 0
    assert CliRunner().invoke(main, ["audit", "verify", "--anchor", f"5:{GENESIS}"]).exit_code == 1
    assert CliRunner().invoke(main, ["audit", "verify", "--anchor", "5"]).exit_code == 2
    with superuser(one) as connection:
        connection.execute(text(f"UPDATE audit SET actor = 'mallory' WHERE id = {AT.format(3)}"))
    broken = CliRunner().invoke(main, ["audit", "verify", "--json"])
    assert broken.exit_code == 1
    told = json.loads(broken.stdout)
    assert not told["ok"]
    assert [each["position"] for each in told["breaks"]] == [3]
