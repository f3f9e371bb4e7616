"""What a body has achieved is stored, though the database was away or would not have it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from models.database import Database
from orchestrator.core.outcome import Outcome, Succeeded
from orchestrator.ports import StepContext
from orchestrator.services.performing import perform
from tests.services.test_outcomes_from_handlers import saying
from tests.support import attempts, engine
from tests.support.soundness import assert_run_sound

WORKFLOW: dict[str, Any] = {
    "name": "w",
    "nodes": [{"id": "a", "type": "probe"}, {"id": "b", "type": "slow_probe"}, {"id": "c", "type": "noop"}],
    "edges": ["a >> b >> c"],
}


def cut_off(url: str) -> None:
    """End every session of a database, as its restart does."""
    connection = psycopg2.connect(url.replace("postgresql+psycopg2", "postgresql"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.close()


@pytest.mark.postgres
def test_a_database_that_restarts_while_a_step_works(new_database: Callable[..., str]) -> None:
    url = new_database("postgresql")
    database = Database(url)
    ours = engine.make(database)

    def execute(ctx: StepContext) -> Outcome:
        cut_off(url)
        return Succeeded(output=ctx.path)

    for type_ in ("probe", "slow_probe"):
        saying(ours.deps, type_, execute)
    ours.publish(WORKFLOW)
    run_id = ours.run("w")
    ours.drain()
    assert ours.row(run_id).status == "success"
    assert [found.status for found in attempts.attempts(ours, run_id, "a")] == ["success"]
    assert [found.status for found in attempts.attempts(ours, run_id, "b")] == ["success"]
    assert_run_sound(ours.deps, run_id)
    database.close()


def test_an_outcome_that_the_database_would_not_have(database: Database) -> None:
    ours = engine.make(database)
    ours.publish(WORKFLOW)
    run_id = ours.start("w")
    claimed = attempts.take(ours, "a")
    done = replace(perform(ours.deps, claimed), resolved=object())
    ours.carrier.complete(claimed, done, in_chord=False, go_on=False)
    assert (ours.row(run_id).status, ours.row(run_id).error["code"]) == ("failed", "INTERNAL")
    assert_run_sound(ours.deps, run_id)
