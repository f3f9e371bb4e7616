"""What a sweep costs while nothing is to be done: 10,000 offers, on PostgreSQL."""

import pytest
from sqlalchemy import text

from models.database import Database
from models.queries import work as queries
from orchestrator.services import sweeps
from tests.support.desk import Office, office

MANY = 10_000
ON_POSTGRESQL = pytest.mark.parametrize(
    "database_kind", [pytest.param("postgresql", marks=pytest.mark.postgres)]
)
_OFFERS = """
INSERT INTO work (run_id, no, attempt, workspace_id, capabilities, rank, offered_at, losses)
SELECT gen_random_uuid(), n, 1, CAST(:workspace AS uuid), '[]', 0, now(), 0 FROM generate_series(1, :many) n
"""
_STEPS = """
INSERT INTO step (run_id, no, path, status, attempt, undecided, live, tries, losses, queue, in_chord, sends)
SELECT run_id, no, 'a', 'waiting', 1, 0, 0, 0, 0, 'steps', false, 0 FROM work
"""
_READ = (
    "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'work'"
)


def offered(database: Database) -> Office:
    ours = office(database)
    with ours.engine.deps.db.transaction() as session:
        session.execute(text(_OFFERS), {"workspace": ours.engine.actor.workspace_id, "many": MANY})
        session.execute(text(_STEPS))
        session.execute(text("ANALYZE work"))
        session.execute(text("ANALYZE step"))
    return ours


@ON_POSTGRESQL
def test_leases_are_looked_for_by_index_alone(database: Database) -> None:
    ours = offered(database)
    with ours.engine.deps.db.transaction() as session:
        session.execute(text("UPDATE work SET lease_until = now() + interval '1 h' WHERE no <= 100"))
    with ours.engine.deps.db.read() as session:
        before = session.execute(text(_READ)).scalar_one()
        assert not queries.any_over(session)
        assert session.execute(text(_READ)).scalar_one() == before
    with ours.engine.deps.db.transaction() as session:
        session.execute(text("UPDATE work SET losses = 3 WHERE no = 7"))
        assert queries.any_over(session)
        session.execute(text("UPDATE work SET losses = 0, lease_until = now() WHERE no = 7"))
        assert queries.any_over(session)
        session.rollback()


@ON_POSTGRESQL
def test_offers_whose_steps_wait_no_more_go(database: Database) -> None:
    ours = offered(database)
    assert sweeps.run(ours.engine.deps, "offers").found == 0
    with ours.engine.deps.db.transaction() as session:
        session.execute(text("UPDATE step SET status = 'aborted' WHERE no > :rest"), {"rest": MANY - 600})
    assert [sweeps.run(ours.engine.deps, "offers").found for _ in range(3)] == [500, 100, 0]
