"""Kept answers of idempotent writes are forgotten after a day, and not before."""

from datetime import UTC, datetime, timedelta

from models.database import Database
from models.operation import IdempotentAnswer
from orchestrator.services import sweeps
from orchestrator.services.idempotency import KEPT
from tests.support import engine


def test_only_expired_answers_go(database: Database) -> None:
    made = engine.make(database)
    now = datetime.now(UTC)
    ages = {"old": KEPT + timedelta(minutes=1), "young": KEPT - timedelta(minutes=1)}
    with database.transaction() as session:
        for key, age in ages.items():
            session.add(
                IdempotentAnswer(
                    workspace_id=made.actor.workspace_id,
                    key=key,
                    digest="",
                    status=202,
                    body={},
                    headers={},
                    created_at=now - age,
                )
            )
    assert sweeps.run(made.deps, "answers").found == 1
    with database.read() as session:
        assert session.get(IdempotentAnswer, (made.actor.workspace_id, "young")) is not None
        assert session.get(IdempotentAnswer, (made.actor.workspace_id, "old")) is None
