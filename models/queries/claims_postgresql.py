"""The round that every step has, as a statement of its own: queued steps start, no edge is decided.

It does what the statement of `transitions_postgresql` does for such a round, at under half of the database's
time, most of which goes into setting up parts that a claim leaves empty (benchmarks/README.md).
"""

from typing import Any

from sqlalchemy.orm import Session

from models.moves import AttemptChange, Move, Moved, Transition, Transitioned
from models.queries import steps
from models.queries.prepared import Prepared, array
from models.states import StepStatus

CLAIM = Prepared(
    "claim",
    ("uuid", "text[]", "bool", "bigint[]", "int[]", "float", "float[]", "text", "bigint[]", "text[]", "bigint[]"),
    f"""
WITH r AS MATERIALIZED (
  SELECT id, seq, open_steps, status, stopping, error IS NOT NULL AS failed, clock_timestamp() AS now,
    greatest(xid, pg_current_xact_id()::text::bigint) AS xid
  FROM run WHERE id = $1 AND status = ANY ($2) AND (NOT $3 OR stopping IS NULL) FOR UPDATE
), m AS MATERIALIZED (
  SELECT r.id AS run_id, m.* FROM r, unnest($4, $5, $7, $9) AS m(no, fence, timeout, reserved)
), s AS (
  UPDATE step SET
    status = 'running', attempt = step.attempt + 1, waiting_for = NULL, sent_at = NULL,
    started_at = coalesce(step.started_at, r.now), finished_at = NULL,
    lease_until = r.now + make_interval(secs => $6), timeout_at = r.now + make_interval(secs => m.timeout),
    due_at = NULL, agent_id = NULL
  FROM m, r
  WHERE step.run_id = m.run_id AND step.no = m.no AND step.attempt = m.fence AND step.status = ANY ($10)
  RETURNING step.run_id, r.now, r.seq, r.xid, step.no, step.path, step.attempt, step.tries, step.losses, step.live_in,
    step.idempotency_key, step.override, m.reserved
), begun AS (
  INSERT INTO attempt (run_id, no, number, status, worker, claimed_at, begun_at, cost_microcents,
    reserved_microcents)
  SELECT run_id, no, attempt, 'running', $8, now, now, 0, reserved FROM s
), logged AS (
  INSERT INTO event (run_id, seq, type, step, at, data, xid)
  SELECT run_id, seq + row_number() OVER (ORDER BY no), 'step.started', path, now,
    format('{{"attempt":%s,"tries":%s,"losses":%s}}', attempt, tries, losses), xid FROM s
), u AS (
  UPDATE run SET seq = r.seq + (SELECT count(*) FROM s), xid = r.xid FROM r
  WHERE run.id = r.id AND EXISTS (SELECT FROM s)
), wanted AS MATERIALIZED (
  SELECT r.id AS run_id, unnest($11) AS no FROM r WHERE EXISTS (SELECT FROM s)
), stored(no, status, attempt, out_edges, passed, output, error) AS (
  SELECT {steps.COLUMNS}, {steps.OUTPUTS} {steps.ROWS}
)
SELECT r.open_steps, r.status, r.stopping, r.failed, y.* FROM r LEFT JOIN (
  SELECT 's' AS kind, no, path, attempt, tries, losses, live_in, idempotency_key, override FROM s
  UNION ALL
  SELECT 'w', no, status, attempt, NULL, NULL, out_edges, passed, output FROM stored WHERE error IS NULL
) y ON true ORDER BY y.kind, y.no
""",  # noqa: S608 - columns, written once, are put in
)


def fits(transition: Transition) -> bool:
    """Whether a round is nothing but claims under one lease, and in the order of the steps' numbers."""
    if not transition.moves or transition.decisions or transition.extras:
        return False
    if transition.error is not None or transition.stopping is not None or transition.unless_last:
        return False
    first, numbers = transition.moves[0], [move.no for move in transition.moves]
    alike = all((move.lease, move.worker) == (first.lease, first.worker) for move in transition.moves)
    return alike and all(_claims(move) for move in transition.moves) and numbers == sorted(numbers)


def _claims(move: Move) -> bool:
    return (
        move.change is AttemptChange.START
        and move.sources == (StepStatus.QUEUED,)
        and (move.to, move.event, move.bump) == (StepStatus.RUNNING, "step.started", 1)
        and not (move.more or move.actor or move.tries)
        and move.losses is None
    )


def apply(session: Session, transition: Transition) -> Transitioned | None:
    """Carry it out; see `models.queries.transitions.apply`."""
    moves = transition.moves
    rows = CLAIM.rows(
        session,
        (
            transition.run_id,
            list(transition.while_),
            transition.unless_stopping,
            array(move.no for move in moves),
            array(move.fence for move in moves),
            moves[0].lease,
            array(move.timeout for move in moves),
            moves[0].worker,
            array(0 if move.result is None else move.result.reserved for move in moves),
            list(moves[0].sources),  # a parameter: a constant would let the plan read the index of queued steps
            array(transition.wanted),
        ),
    )
    return _result(rows) if rows else None


def _result(rows: list[tuple[Any, ...]]) -> Transitioned:
    open_steps, status, stopping, failed = rows[0][:4]
    moved = tuple(
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
        )
        for kind, no, path, attempt, tries, losses, live_in, key, override in (row[4:] for row in rows)
        if kind == "s"
    )
    stored = tuple(
        (no, status_, attempt, out_edges, passed, output, None)
        for kind, no, status_, attempt, _, _, out_edges, passed, output in (row[4:] for row in rows)
        if kind == "w"
    )
    return Transitioned(
        moved=moved,
        targets=(),
        open_steps=open_steps,
        run_status=status,
        stopping=stopping,
        failed=failed,
        stored=stored,
    )
