"""Reads of steps and their attempts, and the few writes that are no move."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, func, select, text, tuple_, update
from sqlalchemy.orm import Session

from models.event import Event
from models.moves import Target
from models.queries.prepared import Prepared
from models.queries.sweeps import clock
from models.step import Attempt, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is stored of a step for those that come after it. `passed`: numbers whose outputs are this one's.

    `status`: as the step came out, whether or not it was undone since.
    """

    no: int
    status: str
    attempt: int
    out_edges: str | None
    output: Any = None
    passed: tuple[int, ...] | None = None
    error: Any = None


def numbers(passed: str | None) -> tuple[int, ...] | None:
    """An attempt's `passed` as stored; empty where only an error led to the step, and nothing passes."""
    return None if passed is None else tuple(int(no) for no in passed.split(",") if no)


# What a step came to stays when it is undone, and when undoing it fails. A late success may be undone of a step that
# had failed, or was stopped before it ended.
# The keys are joined as rows of their own: PostgreSQL would read all steps of a run that it takes for small.
_STORED = """
WITH wanted AS MATERIALIZED (SELECT {run} AS run_id, {no} AS no {given})
SELECT {columns}, {outputs} {rows}
"""
COLUMNS = """step.no, CASE
    WHEN step.status IN ('failed', 'compensating', 'compensated') AND attempt.status = 'success' THEN 'success'
    WHEN step.status IN ('compensating', 'compensated') AND attempt.error IS NULL THEN 'skipped'
    WHEN step.status IN ('compensating', 'compensated') THEN 'failed'
    ELSE step.status END, step.attempt, step.out_edges, attempt.passed"""
ROWS = """FROM wanted
JOIN step ON step.run_id = wanted.run_id AND step.no = wanted.no
LEFT JOIN attempt ON attempt.run_id = step.run_id AND attempt.no = step.no AND attempt.number = step.attempt"""
OUTPUTS, _NO_OUTPUTS = "attempt.output, attempt.error", "NULL, NULL"
_BOTH = {"columns": COLUMNS, "rows": ROWS}
_POSTGRESQL = _BOTH | {"run": "$1", "no": "unnest($2)", "given": ""}
_SQLITE = _BOTH | {"run": "?", "no": "value", "given": "FROM json_each(?)"}
PREPARED = {
    True: Prepared("stored", ("uuid", "bigint[]"), _STORED.format(outputs=OUTPUTS, **_POSTGRESQL)),
    False: Prepared("standing", ("uuid", "bigint[]"), _STORED.format(outputs=_NO_OUTPUTS, **_POSTGRESQL)),
}
_PLAIN = {
    True: _STORED.format(outputs=OUTPUTS, **_SQLITE),
    False: _STORED.format(outputs=_NO_OUTPUTS, **_SQLITE),
}


def stored(session: Session, run_id: str, nos: Collection[int], *, outputs: bool = True) -> list[Stored]:
    """The steps of these numbers; without `outputs` only how they stand and what they pass on."""
    if session.get_bind().dialect.name == "sqlite":
        cursor = session.connection().connection.cursor()
        cursor.execute(_PLAIN[outputs], (run_id, json.dumps(sorted(nos))))
        rows = cursor.fetchall()
    else:
        rows = PREPARED[outputs].rows(session, (run_id, sorted(nos)))
    return read(rows)


def read(rows: Iterable[tuple[Any, ...]]) -> list[Stored]:
    """Rows of COLUMNS and OUTPUTS as the driver gives them."""
    return [
        Stored(
            no=no,
            status=status,
            attempt=attempt,
            out_edges=out_edges,
            passed=numbers(passed),
            output=None if output is None else json.loads(output),
            error=None if error is None else json.loads(error),
        )
        for no, status, attempt, out_edges, passed, output, error in rows
    ]


def undone(session: Session, run_id: str, no: int, number: int) -> Stored:
    """A step as its compensation sees it: by the attempt that is undone, whatever became of the step since."""
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number)
    row = session.execute(select(Attempt.output, Attempt.passed).where(*own)).one()
    return Stored(
        no=no, status="success", attempt=number, out_edges=None, output=row.output, passed=numbers(row.passed)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hot:
    """A step's hot row, as far as the engine reads it before it moves it."""

    no: int
    path: str
    status: str
    attempt: int
    tries: int
    losses: int
    undecided: int
    live: int
    in_chord: bool
    queue: str
    live_in: str | None
    idempotency_key: str | None
    override: Any = None


def hot(session: Session, run_id: str, nos: Collection[int] | None = None) -> list[Hot]:
    """The rows of these steps, or of all of the run, by number."""
    query = select(
        Step.no,
        Step.path,
        Step.status,
        Step.attempt,
        Step.tries,
        Step.losses,
        Step.undecided,
        Step.live,
        Step.in_chord,
        Step.queue,
        Step.live_in,
        Step.idempotency_key,
        Step.override,
    ).where(Step.run_id == run_id)
    if nos is not None:
        query = query.where(Step.no.in_(sorted(nos)))
    return [Hot(**row._mapping) for row in session.execute(query.order_by(Step.no))]


_INSERT = """
INSERT INTO step (run_id, no, path, status, attempt, undecided, live, tries, losses, queue, in_chord, sends)
SELECT {run}, {columns}, 0, 0, 0, {queue}, {false}, 0 FROM {rows}
"""
_INSERT_POSTGRESQL = _INSERT.format(
    run="CAST(:run AS uuid)",
    columns="s.no, s.path, 'pending', 0, s.undecided",
    queue="s.queue",
    false="false",
    rows="json_to_recordset(CAST(:rows AS json)) AS s(no bigint, path text, undecided int, queue text)",
)
_INSERT_SQLITE = _INSERT.format(
    run=":run",
    columns="value ->> 'no', value ->> 'path', 'pending', 0, value ->> 'undecided'",
    queue="value ->> 'queue'",
    false="0",
    rows="json_each(:rows)",
)


def insert_all(session: Session, run_id: str, rows: str) -> None:
    """Insert steps of a run, all pending; `rows` is JSON text of `[{no, path, undecided, queue}]`."""
    statement = _INSERT_SQLITE if session.get_bind().dialect.name == "sqlite" else _INSERT_POSTGRESQL
    session.execute(text(statement), {"run": run_id, "rows": rows})


def given(session: Session, run_id: str, no: int) -> tuple[str | None, Any]:
    """What rebuilds a step's input: its `live_in`, and the resolved mapping of its last attempt."""
    row = session.execute(
        select(Step.live_in, Attempt.resolved)
        .outerjoin(
            Attempt,
            (Attempt.run_id == Step.run_id) & (Attempt.no == Step.no) & (Attempt.number == Step.attempt),
        )
        .where(Step.run_id == run_id, Step.no == no)
    ).one()
    return row.live_in, row.resolved


def set_live_in(session: Session, run_id: str, live_in: Mapping[int, str]) -> None:
    """Write which in-edges the inputs of steps are made of, by number."""
    for no, places in sorted(live_in.items()):
        session.execute(update(Step).where(Step.run_id == run_id, Step.no == no).values(live_in=places))


def unsend(session: Session, run_id: str, nos: Collection[int]) -> None:
    """A publish failed: these steps go out with the next sweep, and no chord carries their joins."""
    session.execute(
        update(Step)
        .where(Step.run_id == run_id, Step.no.in_(sorted(nos)), Step.status == "queued")
        .values(sent_at=None)
    )


def unsend_all(session: Session, run_id: str) -> None:
    """A run was paused: what is queued stays, unsent."""
    session.execute(
        update(Step).where(Step.run_id == run_id, Step.status == "queued").values(sent_at=None, lane=None)
    )


def put_off_timeouts(session: Session, run_id: str, seconds: float) -> None:
    """A run was paused for so long: the timeouts of its parked steps have stood still."""
    parked = select(Step.no, Step.timeout_at).where(Step.run_id == run_id, Step.status == "waiting")
    for no, at in session.execute(parked).all():
        if at is not None:
            own = update(Step).where(Step.run_id == run_id, Step.no == no)
            session.execute(own.values(timeout_at=at + timedelta(seconds=seconds)))


def put_off(session: Session, run_id: str, no: int, number: int, due: float) -> None:
    """Nothing has come yet for a parked attempt: it is looked for again at `due`, seconds since 1970."""
    session.execute(
        update(Step)
        .where(Step.run_id == run_id, Step.no == no, Step.attempt == number, Step.status == "waiting")
        .values(due_at=datetime.fromtimestamp(due, UTC))
    )


def seconds_left(session: Session, run_id: str, no: int) -> float | None:
    """How long a step's attempt may still take, by the database's clock, 0 at least; None: it has no timeout."""
    at = session.execute(select(Step.timeout_at).where(Step.run_id == run_id, Step.no == no)).scalar_one()
    return None if at is None else max(0.0, at.timestamp() - clock(session))


def waiting_for(session: Session, run_id: str, reason: str) -> list[tuple[int, str, int, str]]:
    """(no, path, attempt, queue) of the steps that are parked for this reason."""
    parked = select(Step.no, Step.path, Step.attempt, Step.queue).where(
        Step.run_id == run_id, Step.status == "waiting", Step.waiting_for == reason
    )
    return [(row.no, row.path, row.attempt, row.queue) for row in session.execute(parked.order_by(Step.no))]


def reason_of(session: Session, run_id: str, no: int) -> str | None:
    """What a parked step waits for."""
    return session.execute(
        select(Step.waiting_for).where(Step.run_id == run_id, Step.no == no)
    ).scalar_one_or_none()


def claimed_at(session: Session, run_id: str, no: int, number: int) -> datetime | None:
    """When an attempt began."""
    return session.execute(
        select(Attempt.claimed_at).where(Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number)
    ).scalar_one_or_none()


def reserved(session: Session, run_id: str, no: int, number: int) -> int:
    """What an attempt reserved of its run's budget, in micro-cents."""
    found = session.execute(
        select(Attempt.reserved_microcents).where(
            Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number
        )
    ).scalar_one_or_none()
    return int(found or 0)


def reserved_by(session: Session, run_id: str, attempts: Collection[tuple[int, int]]) -> int:
    """What attempts, as (step, number), have reserved of their run's budget together, in micro-cents."""
    found = session.execute(
        select(func.sum(Attempt.reserved_microcents)).where(
            Attempt.run_id == run_id, tuple_(Attempt.no, Attempt.number).in_(attempts)
        )
    ).scalar_one()
    return int(found or 0)


def lost_attempts(session: Session, run_id: str, no: int) -> tuple[int, ...]:
    """The numbers of a step's attempts whose worker was lost, newest first."""
    rows = session.execute(
        select(Attempt.number)
        .where(Attempt.run_id == run_id, Attempt.no == no, Attempt.status == "lost")
        .order_by(Attempt.number.desc())
    )
    return tuple(number for (number,) in rows)


def attempt_cost(session: Session, run_id: str, no: int, number: int) -> int:
    """What an attempt was settled at, in micro-cents."""
    found = session.execute(
        select(Attempt.cost_microcents).where(
            Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number
        )
    ).scalar_one_or_none()
    return int(found or 0)


def add_attempt_cost(session: Session, run_id: str, no: int, number: int, microcents: int) -> None:
    """Add to what an attempt has cost."""
    own = (Attempt.run_id == run_id, Attempt.no == no, Attempt.number == number)
    more = Attempt.cost_microcents + microcents
    session.execute(update(Attempt).where(*own).values(cost_microcents=more))


def off_chord(session: Session, run_id: str, no: int) -> None:
    """A chord could not be published: whoever decides this join publishes it."""
    session.execute(update(Step).where(Step.run_id == run_id, Step.no == no).values(in_chord=False))


def set_idempotency_key(
    session: Session, run_id: str, no: int, key: str, instead: str | None = None
) -> str:
    """Keep a step's own idempotency key, resolved once: the first one stays, and is returned.

    It takes the place of none, or of `instead`.
    """
    stored = Step.idempotency_key
    before = stored.is_(None) if instead is None else stored == instead
    session.execute(
        update(Step).where(Step.run_id == run_id, Step.no == no, before).values(idempotency_key=key)
    )
    kept = session.execute(select(Step.idempotency_key).where(Step.run_id == run_id, Step.no == no))
    return str(kept.scalar_one())


def record_late(
    session: Session, run_id: str, no: int, number: int, values: dict[str, Any], *, failed: bool = False
) -> bool:
    """Write what came of an attempt after its fence rose; it moves nothing. False when it was written before.

    failed: over an attempt that somebody else has found to have failed, too.
    """
    done: CursorResult[Any] = session.execute(  # type: ignore[assignment]
        update(Attempt)
        .where(
            Attempt.run_id == run_id,
            Attempt.no == no,
            Attempt.number == number,
            Attempt.status.in_(("running", "lost", "aborted", *(["failed"] if failed else []))),
        )
        .values(**values)
    )
    return bool(done.rowcount)


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedStep:
    """A step that paused its run; `expected` is the JSON Schema of the input that completes it."""

    no: int
    attempt: int
    expected: Any


def paused(session: Session, run_id: str) -> list[PausedStep]:
    """The waiting steps that paused their run, by their last `step.waiting` event."""
    found = []
    waiting = session.execute(
        select(Step.no, Step.path, Step.attempt).where(Step.run_id == run_id, Step.status == "waiting")
    ).all()
    for no, path, attempt in waiting:
        data = _parked(session, run_id, path)
        if data.get("pauses"):
            found.append(PausedStep(no=no, attempt=attempt, expected=data.get("expected_input")))
    return found


def timer_output(session: Session, run_id: str, path: str) -> Any:
    """What a step that waits for a time succeeds with: as it said when it was parked, by default {}."""
    return _parked(session, run_id, path).get("output", {})


def _parked(session: Session, run_id: str, path: str) -> dict[str, Any]:
    """The data of a step's last `step.waiting` event."""
    found = session.execute(
        select(Event.data)
        .where(Event.run_id == run_id, Event.step == path, Event.type == "step.waiting")
        .order_by(Event.seq.desc())
        .limit(1)
    ).scalar_one()
    return dict(found)


def release(session: Session, run_id: str) -> list[Target]:
    """Mark all queued steps of a run that was paused as sent, for the caller to publish them.

    Those that were sent before the pause too: their messages may have come, and been refused, meanwhile.
    """
    at = func.db_now() if session.get_bind().dialect.name == "sqlite" else func.clock_timestamp()
    rows = session.execute(
        update(Step)
        .where(Step.run_id == run_id, Step.status == "queued")
        .values(sent_at=at, sends=1, lane=None)
        .returning(Step.no, Step.path, Step.attempt, Step.queue, Step.live_in)
    )
    return [
        Target(
            no=row.no,
            path=row.path,
            attempt=row.attempt,
            queue=row.queue,
            in_chord=False,
            verdict="queued",
            live_in=row.live_in,
        )
        for row in sorted(rows, key=lambda row: row.no)
    ]
