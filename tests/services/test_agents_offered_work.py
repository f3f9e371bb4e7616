"""Work is offered to agents without a gateway where no other has time."""

from sqlalchemy import select

from models.agent import Agent, Work
from models.database import Database
from orchestrator.services import runs, stops
from tests.support import attempts
from tests.support.desk import Office, office, step
from tests.support.histories import execute
from tests.support.probes import NAME, ends
from tests.support.waits import ends_of, waits_for


def offers(ours: Office) -> list[Work]:
    with ours.engine.deps.db.read() as session:
        return list(session.scalars(select(Work)))


def test_work_is_offered_where_no_gateways_agent_has_time(database: Database) -> None:
    ours = office(database, step(role="judge"))
    ours.agent("pull", role="judge")
    run_id = ours.engine.run(NAME)
    (offer,) = offers(ours)
    assert (offer.run_id, offer.no, offer.attempt, offer.agent_id, offer.role) == (
        run_id,
        0,
        1,
        None,
        "judge",
    )
    assert waits_for(ours, run_id) == "an agent to claim it: agent of the role judge"
    ours.sweep()
    assert attempts.told(ours.engine, run_id).count("step.resumed") == 0
    ours.agent("ann", ours.gateway(), role="judge")
    ours.sweep()
    ends(ours.engine, run_id, "success")
    assert offers(ours) == []


def test_work_that_an_agent_has_claimed_is_left_to_it(database: Database) -> None:
    ours = office(database, step(role="judge"))
    pull = ours.agent("pull", role="judge")
    run_id = ours.engine.run(NAME)
    execute(ours.engine, "UPDATE work SET claimed_by = :agent", agent=pull)
    ours.agent("ann", ours.gateway(), role="judge")
    ours.sweep()
    assert ours.desk.runs == {}
    ends_of(ours, run_id)
    ends(ours.engine, run_id, "success")


def test_a_stop_takes_the_offer_back(database: Database) -> None:
    ours = office(database, step(agent="pull"))
    ours.agent("pull")
    run_id = ours.engine.run(NAME)
    assert len(offers(ours)) == 1
    ours.engine.send(runs.abort(ours.engine.deps, ours.engine.actor, run_id, "enough"))
    for effect in ours.engine.stops:
        stops.carry_out(ours.engine.deps, effect.outbox_id)
    assert offers(ours) == []
    ends(ours.engine, run_id, "aborted")


def test_an_agent_that_comes_back_is_offered_what_waited(database: Database) -> None:
    ours = office(database, step(agent="pull"))
    agent_id = ours.agent("pull", status="offline")
    run_id = ours.engine.run(NAME)
    assert offers(ours) == []
    ours.change(Agent, agent_id, status="online")
    ours.sweep()
    assert len(offers(ours)) == 1
    ours.sweep()
    assert attempts.told(ours.engine, run_id).count("step.resumed") == 1


def test_work_that_nobody_claims_costs_nothing(database: Database) -> None:
    ours = office(database, step(role="judge", timeout="5m"))
    ours.agent("pull", role="judge")
    run_id = ours.engine.run(NAME)
    attempts.outrun(ours.engine, run_id, "a")
    ends(ours.engine, run_id, "failed")
    assert ours.engine.row(run_id).cost_microcents == 0
