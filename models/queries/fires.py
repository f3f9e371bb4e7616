"""Fire times of schedules: one row each, whoever makes it. Rows change under their schedule's lock."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from models.base import uuid7
from models.queries.dialect import insert
from models.queries.runs import now
from models.run import Run
from models.schedule import Schedule, ScheduleFire

_OF_PLAN = text("kind <> 'manual'")  # as the index says it
_LEAST = "00000000-0000-0000-0000-000000000000"
CHUNK = 500
Shown = Row[ScheduleFire, str | None]  # with the status of its run


def live(fire: type[ScheduleFire] = ScheduleFire) -> tuple[ColumnElement[bool], ...]:
    """Fires whose runs may go on. Every id is above _LEAST: SQLite then takes their index, not that of all fires."""
    return fire.live.is_(True), fire.id > _LEAST


def add(session: Session, values: Mapping[str, Any]) -> bool:
    """Add a fire time; False where the schedule has it already."""
    row = insert(session, ScheduleFire).values(id=uuid7(), live=False, created_at=now(session))
    row = row.values(**values).on_conflict_do_nothing(
        index_elements=["schedule_id", "fire_at"], index_where=_OF_PLAN
    )
    return session.execute(row.returning(ScheduleFire.id)).first() is not None


def is_known(session: Session, schedule_id: str, fire_at: datetime) -> bool:
    """Whether something became of a planned fire time already."""
    query = select(ScheduleFire.id).where(
        ScheduleFire.schedule_id == schedule_id, ScheduleFire.fire_at == fire_at, ScheduleFire.kind != "manual"
    )
    return session.execute(query).first() is not None


def fill(session: Session, schedule_id: str, backfill_id: str, times: Sequence[datetime]) -> int:
    """Queue fire times for a backfill that have no run yet; how many those are."""
    fresh = {"backfill_id": backfill_id, "kind": "backfill", "outcome": "queued"}
    added = 0
    for start in range(0, len(times), CHUNK):
        rows = [
            {"id": uuid7(), "schedule_id": schedule_id, "fire_at": at, "live": False, **fresh}
            | {"created_at": now(session)}
            for at in times[start : start + CHUNK]
        ]
        row = insert(session, ScheduleFire).values(rows)
        queued = row.on_conflict_do_update(
            index_elements=["schedule_id", "fire_at"],
            index_where=_OF_PLAN,
            set_={**fresh, "error": None},
            where=ScheduleFire.outcome.in_(("skipped", "refused")),
        )
        added += len(session.execute(queued.returning(ScheduleFire.id)).all())
    return added


def settle(session: Session, schedule_id: str) -> None:
    """Fires whose runs have ended, or are gone, are not live any more."""
    going = exists().where(Run.id == ScheduleFire.run_id, Run.finished_at.is_(None))
    session.execute(
        update(ScheduleFire)
        .where(ScheduleFire.schedule_id == schedule_id, *live(), ~going)
        .values(live=False)
        .execution_options(synchronize_session=False)
    )


def live_runs(session: Session, schedule_id: str) -> Sequence[tuple[str, bool]]:
    """The runs of a schedule that go on, but for those of backfills; each with whether it is being ended."""
    ends = or_(Run.stopping.is_not(None), Run.status == "compensating")
    query = select(Run.id, ends).join(ScheduleFire, ScheduleFire.run_id == Run.id)
    going = query.where(
        ScheduleFire.schedule_id == schedule_id,
        *live(),
        ScheduleFire.kind != "backfill",
        Run.finished_at.is_(None),
    )
    return [(run_id, bool(ending)) for run_id, ending in session.execute(going.order_by(Run.id))]


def filling(session: Session, schedule_id: str, backfill_id: str) -> int:
    """How many runs of a schedule's backfill go on."""
    query = select(func.count()).select_from(ScheduleFire).join(Run, Run.id == ScheduleFire.run_id)
    going = query.where(
        ScheduleFire.schedule_id == schedule_id,
        *live(),
        ScheduleFire.backfill_id == backfill_id,
        Run.finished_at.is_(None),
    )
    return int(session.execute(going).scalar_one())


def next_queued(session: Session, schedule_id: str, backfill_id: str | None) -> ScheduleFire | None:
    """The oldest fire of a schedule that waits for its turn; `backfill_id`: of this backfill, else of the plan."""
    queued = select(ScheduleFire).where(
        ScheduleFire.schedule_id == schedule_id, ScheduleFire.outcome == "queued"
    )
    of = (
        ScheduleFire.kind != "backfill"
        if backfill_id is None
        else ScheduleFire.backfill_id == backfill_id
    )
    query = queued.where(of).order_by(ScheduleFire.fire_at).limit(1)
    return session.scalars(query.execution_options(populate_existing=True)).first()


def queued(session: Session, schedule_id: str) -> int:
    """How many fires of the plan wait for their turn."""
    query = select(func.count()).where(
        ScheduleFire.schedule_id == schedule_id,
        ScheduleFire.outcome == "queued",
        ScheduleFire.kind != "backfill",
    )
    return int(session.execute(query).scalar_one())


def change(session: Session, fire_id: str, **values: Any) -> None:
    """Write what became of a fire."""
    session.execute(update(ScheduleFire).where(ScheduleFire.id == fire_id).values(**values))


def refuse(session: Session, fire_id: str, error: Mapping[str, Any]) -> bool:
    """The run of a fire that waited cannot be started; False where it does not wait any more."""
    queued_still = update(ScheduleFire).where(ScheduleFire.id == fire_id, ScheduleFire.outcome == "queued")
    changed = queued_still.values(outcome="refused", error=dict(error)).returning(ScheduleFire.id)
    return session.execute(changed).first() is not None


def waiting(session: Session, limit: int) -> Sequence[str]:
    """Schedules that go on, with a fire of the plan that waits, and no run that it waits for."""
    other = aliased(ScheduleFire)
    goes_on = exists().where(
        other.schedule_id == Schedule.id,
        *live(other),
        other.kind != "backfill",
        Run.id == other.run_id,
        Run.finished_at.is_(None),
    )
    query = (
        select(ScheduleFire.schedule_id)
        .join(Schedule, Schedule.id == ScheduleFire.schedule_id)
        .where(
            ScheduleFire.outcome == "queued",
            ScheduleFire.kind != "backfill",
            Schedule.paused_at.is_(None),
            ~goes_on,
        )
    )
    return session.scalars(query.distinct().limit(limit)).all()


def page(
    session: Session,
    schedule_id: str,
    *,
    kind: str | None = None,
    outcome: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int,
) -> Sequence[Shown]:
    """Fires, the latest fire time first, each with the status of its run."""
    query = select(ScheduleFire, Run.status).join(Run, Run.id == ScheduleFire.run_id, isouter=True)
    query = query.where(ScheduleFire.schedule_id == schedule_id)
    if kind is not None:
        query = query.where(ScheduleFire.kind == kind)
    if outcome is not None:
        query = query.where(ScheduleFire.outcome == outcome)
    if before is not None:
        at, fire_id = before
        same = and_(ScheduleFire.fire_at == at, ScheduleFire.id < fire_id)
        query = query.where(ScheduleFire.fire_at <= at, or_(ScheduleFire.fire_at < at, same))
    latest = query.order_by(ScheduleFire.fire_at.desc(), ScheduleFire.id.desc()).limit(limit)
    return session.execute(latest).all()


def outcomes(session: Session, backfill_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """How many fires of backfills have which outcome."""
    rows = session.execute(
        select(ScheduleFire.backfill_id, ScheduleFire.outcome, func.count())
        .where(ScheduleFire.backfill_id.in_(backfill_ids))
        .group_by(ScheduleFire.backfill_id, ScheduleFire.outcome)
    )
    return {(str(backfill_id), outcome): number for backfill_id, outcome, number in rows}


def any_past(session: Session, workspace_id: str, before: float) -> bool:
    """Whether a workspace has fires from before a moment, in seconds since 1970, whose runs are gone."""
    return session.execute(_past(workspace_id, before, 1)).first() is not None


def forget(session: Session, workspace_id: str, before: float, limit: int) -> int:
    """Remove at most `limit` of them; how many went."""
    some = delete(ScheduleFire).where(ScheduleFire.id.in_(_past(workspace_id, before, limit)))
    return len(session.execute(some.returning(ScheduleFire.id)).all())


def _past(workspace_id: str, before: float, limit: int) -> Select[str]:
    """Both times: one that a backfill made up lately is of long ago."""
    moment = datetime.fromtimestamp(before, UTC)
    old = select(ScheduleFire.id).join(Schedule, Schedule.id == ScheduleFire.schedule_id)
    gone = ~exists().where(Run.id == ScheduleFire.run_id)
    times = ScheduleFire.fire_at < moment, ScheduleFire.created_at < moment
    return old.where(Schedule.workspace_id == workspace_id, *times, ScheduleFire.outcome != "queued", gone).limit(limit)
