"""Attempts held by hand: between claim, body and completion the test does what it likes."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from models.event import Event
from models.queries import stamps
from models.queries.sweeps import clock
from models.step import Attempt, Step
from orchestrator.core.outcome import Outcome
from orchestrator.services import sweeps
from orchestrator.services.claiming import Claimed
from orchestrator.services.completing import Completion
from orchestrator.services.performing import Performed, perform
from tests.support.engine import Engine
from tests.support.histories import execute, moment

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def take(engine: Engine, path: str) -> Claimed:
    """Claim the step whose message waits in the inbox."""
    place = next(at for at, (message, _) in enumerate(engine.inbox) if message.path == path)
    message, _ = engine.inbox.pop(place)
    claimed = engine.carrier._claim(message)
    assert claimed is not None, f"{path} could not be claimed"
    return claimed


def end(engine: Engine, claimed: Claimed, outcome: Outcome | None = None) -> None:
    """Do the body of a claimed step, and complete it with what came of it, or with `outcome`."""
    done = perform(engine.deps, claimed)
    if outcome is not None:
        done = replace(done, outcome=outcome, output=None)
    store(engine, claimed, done)


def store(engine: Engine, claimed: Claimed, done: Performed) -> None:
    """Complete a claimed step with what came of its body."""
    with engine.deps.db.transaction() as session:
        effects, _ = Completion(deps=engine.deps, claimed=claimed).write(session, done)
    engine.send(effects)


def lose(engine: Engine, claimed: Claimed) -> None:
    """The attempt's worker is gone: its lease has expired, and the sweep finds it."""
    expire(engine, claimed)
    in_contact(engine)
    engine.send(sweeps.run(engine.deps, "leases").effects)


def expire(engine: Engine, claimed: Claimed) -> None:
    """Nobody renews the attempt's lease, which ran out long ago."""
    execute(
        engine,
        "UPDATE step SET lease_until = :at WHERE run_id = :run AND no = :no AND status = 'running'",
        at=long_ago(engine),
        run=claimed.info.id,
        no=claimed.no,
    )


def long_ago(engine: Engine) -> Any:
    """A moment of the past, as a parameter of a statement."""
    return moment(engine, LONG_AGO)


def in_contact(engine: Engine) -> None:
    """The sweep of leases has seen the database for longer than a lease."""
    with engine.deps.db.transaction() as session:
        now = clock(session)
        stamps.put(session, "leases.contact", now - 3600)
        stamps.put(session, "leases.seen", now)


def step(engine: Engine, run_id: str, path: str) -> Step:
    with engine.deps.db.read() as session:
        return session.scalars(select(Step).where(Step.run_id == run_id, Step.path == path)).one()


def attempts(engine: Engine, run_id: str, path: str) -> list[Attempt]:
    """A step's attempts, the first one first."""
    with engine.deps.db.read() as session:
        rows = select(Attempt).join(Step, (Step.run_id == Attempt.run_id) & (Step.no == Attempt.no))
        found = rows.where(Step.run_id == run_id, Step.path == path).order_by(Attempt.number)
        return list(session.scalars(found))


def events(engine: Engine, run_id: str) -> list[Event]:
    with engine.deps.db.read() as session:
        return list(session.scalars(select(Event).where(Event.run_id == run_id).order_by(Event.seq)))


def told(engine: Engine, run_id: str) -> list[str]:
    """The types of a run's events."""
    return [event.type for event in events(engine, run_id)]


def outrun(engine: Engine, run_id: str, path: str) -> None:
    """The step's attempt has outrun its timeout, and the sweep finds it."""
    query = "UPDATE step SET timeout_at = :at WHERE run_id = :run AND path = :path"
    execute(engine, query, at=long_ago(engine), run=run_id, path=path)
    engine.send(sweeps.run(engine.deps, "timeouts").effects)
