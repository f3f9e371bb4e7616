"""The round that every step has, as a statement of its own: one queued step starts, no edge is decided.

It does what the statement of `transitions_postgresql` does for such a round, at under half of the database's
time, most of which goes into setting up parts that a claim leaves empty (benchmarks/README.md).
"""

from typing import Any

from sqlalchemy.orm import Session

from models.moves import AttemptChange, Moved, Transition, Transitioned
from models.queries.prepared import Prepared
from models.states import StepStatus

CLAIM = Prepared(
    "claim",
    ("uuid", "text[]", "bool", "bigint", "int", "float", "float", "text", "bigint", "text[]"),
    """
WITH r AS MATERIALIZED (
  SELECT id, seq, open_steps, status, stopping, error IS NOT NULL AS failed, clock_timestamp() AS now
  FROM run WHERE id = $1 AND status = ANY ($2) AND (NOT $3 OR stopping IS NULL) FOR UPDATE
), s AS (
  UPDATE step SET
    status = 'running', attempt = step.attempt + 1, waiting_for = NULL, sent_at = NULL,
    started_at = coalesce(step.started_at, r.now), finished_at = NULL,
    lease_until = r.now + make_interval(secs => $6), timeout_at = r.now + make_interval(secs => $7),
    due_at = NULL, agent_id = NULL
  FROM r WHERE step.run_id = $1 AND step.no = $4 AND step.attempt = $5 AND step.status = ANY ($10)
  RETURNING step.run_id, r.now, r.seq, step.no, step.path, step.attempt, step.tries, step.losses, step.live_in,
    step.idempotency_key, step.override
), begun AS (
  INSERT INTO attempt (run_id, no, number, status, worker, claimed_at, begun_at, cost_microcents,
    reserved_microcents)
  SELECT run_id, no, attempt, 'running', $8, now, now, 0, $9 FROM s
), logged AS (
  INSERT INTO event (run_id, seq, type, step, at, data)
  SELECT run_id, seq + 1, 'step.started', path, now,
    format('{"attempt":%s,"tries":%s,"losses":%s}', attempt, tries, losses) FROM s
), u AS (
  UPDATE run SET seq = s.seq + 1 FROM s WHERE run.id = $1
)
SELECT r.open_steps, r.status, r.stopping, r.failed,
  s.no, s.path, s.attempt, s.tries, s.losses, s.live_in, s.idempotency_key, s.override
FROM r LEFT JOIN s ON true
""",
)


def fits(transition: Transition) -> bool:
    """Whether a round is nothing but one claim."""
    if len(transition.moves) != 1 or transition.decisions or transition.extras:
        return False
    move = transition.moves[0]
    return (
        move.change is AttemptChange.START
        and move.sources == (StepStatus.QUEUED,)
        and (move.to, move.event, move.bump) == (StepStatus.RUNNING, "step.started", 1)
        and not (move.more or move.actor or move.tries)
        and move.losses is None
        and transition.error is None
        and transition.stopping is None
    )


def apply(session: Session, transition: Transition) -> Transitioned | None:
    """Carry it out; see `models.queries.transitions.apply`."""
    move = transition.moves[0]
    rows = CLAIM.rows(
        session,
        (
            transition.run_id,
            list(transition.while_),
            transition.unless_stopping,
            move.no,
            move.fence,
            move.lease,
            move.timeout,
            move.worker,
            0 if move.result is None else move.result.reserved,
            list(move.sources),  # a parameter: a constant would let the plan read the index of queued steps
        ),
    )
    return _result(rows[0]) if rows else None


def _result(row: tuple[Any, ...]) -> Transitioned:
    open_steps, status, stopping, failed, no, path, attempt, tries, losses, live_in, key, override = row
    moved = () if no is None else (
        Moved(
            no=no,
            path=path,
            status=StepStatus.RUNNING,
            attempt=attempt,
            tries=tries,
            losses=losses,
            live_in=live_in,
            idempotency_key=key,
            override=override,
        ),
    )  # fmt: skip
    return Transitioned(
        moved=moved,
        targets=(),
        open_steps=open_steps,
        run_status=status,
        stopping=stopping,
        failed=failed,
    )
