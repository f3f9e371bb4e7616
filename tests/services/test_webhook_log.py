"""What webhooks leave behind goes after a while, and sweeps read what they look for through its index."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text

from models.database import Database
from models.queries import deliveries, delivery_log, sweeps, webhooks
from models.states import DeliveryStatus
from orchestrator.services import webhook_sweeps
from tests.support import engine as engines
from tests.support.hooked import Hooked, hooked
from tests.support.receiver import Receiver
from tests.support.soundness import assert_sound


@pytest.fixture(autouse=True)
def sound(database: Database) -> Iterator[None]:
    """No test leaves an invariant broken."""
    yield
    assert_sound(engines.make(database).deps)


def ended_long_ago(found: Hooked, days: float) -> None:
    with found.ours.deps.db.transaction() as session:
        at = sweeps.clock(session) - days * 86_400
        moment = at if found.ours.deps.db.is_sqlite else datetime.fromtimestamp(at, UTC)
        session.execute(text("UPDATE webhook_delivery SET ended_at = :at WHERE ended_at IS NOT NULL"), {"at": moment})


def dead(found: Hooked) -> None:
    """All deliveries that wait are given up."""
    with found.ours.deps.db.transaction() as session:
        query = "UPDATE webhook_delivery SET status = 'dead', ended_at = created_at WHERE status = 'pending'"
        session.execute(text(query))


def test_what_ended_goes_after_a_day_and_what_waits_never(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    found.webhook(receiver.url())
    found.ours.run("w")
    found.pump()
    receiver.answer(500)
    found.ours.run("w")
    found.pump()
    ended_long_ago(found, 0.9)
    assert webhook_sweeps.purge(found.ours.deps) == 0
    ended_long_ago(found, 1.1)
    assert webhook_sweeps.purge(found.ours.deps) == 1
    (left,) = found.deliveries()
    assert left["status"] == "pending"
    with database.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT count(*) FROM webhook_attempt").scalar_one()
    assert kept == 1


def test_dead_letters_are_kept_for_thirty_days(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    found.webhook(receiver.url())
    receiver.answer(500)
    found.ours.run("w")
    found.pump()
    dead(found)
    ended_long_ago(found, 29)
    assert webhook_sweeps.purge(found.ours.deps) == 0
    ended_long_ago(found, 31)
    assert webhook_sweeps.purge(found.ours.deps) == 1


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_sweeps_read_through_indexes(database: Database, receiver: Receiver) -> None:
    found = hooked(database)
    webhook = found.webhook(receiver.url())
    now = datetime.now(UTC)
    asked: list[str] = []

    def note(_connection: object, cursor: Any, statement: str, parameters: object, *_: object) -> None:
        asked.append(cursor.mogrify(statement, parameters).decode())

    event.listen(database.engine, "before_cursor_execute", note)
    with database.transaction() as session:
        webhooks.with_due(session, now, 5, 10)
        deliveries.in_flight(session, webhook["id"])
        deliveries.take(session, webhook["id"], now, 5, now)
        deliveries.lost(session, now, 10)
        deliveries.stop(session, webhook["id"])
        delivery_log.any_old(session, DeliveryStatus.DEAD, now)
        delivery_log.page(session, found.ours.actor.workspace_id, statuses=("dead",), before=None, limit=10)
        delivery_log.page(session, found.ours.actor.workspace_id, webhook_id=webhook["id"], before=None, limit=10)
        delivery_log.attempts(session, [webhook["id"]])
    event.remove(database.engine, "before_cursor_execute", note)
    plans = {}
    with database.read() as session:
        for query in [each for each in asked if each.startswith(("SELECT", "UPDATE", "DELETE"))]:
            escaped = query.replace(":", r"\:")
            plans[query] = "\n".join(session.scalars(text(f"EXPLAIN {escaped}")))
    assert len(plans) >= 9
    assert {query: plan for query, plan in plans.items() if "Seq Scan" in plan} == {}
