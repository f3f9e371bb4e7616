"""A round of transitions on PostgreSQL: one prepared statement, one round trip.

Its first CTE locks the run's row and every other part joins to it; no part reads a row that it does not itself
update, so that under READ COMMITTED each sees the newest version of what it changes.
"""

from typing import Any

from sqlalchemy.orm import Session

from models.base import dump_json
from models.moves import Decision, ExtraEvent, Move, Moved, Target, Transition, Transitioned
from models.queries import claims_postgresql, completions_postgresql
from models.queries.prepared import Prepared
from models.states import StepStatus

_TEXT = """
WITH r AS MATERIALIZED (
  SELECT id, seq, open_steps, status, stopping, error IS NOT NULL AS failed, clock_timestamp() AS now,
    greatest(xid, pg_current_xact_id()::text::bigint) AS xid
  FROM run WHERE id = $1 AND status = ANY ($2) AND (NOT $3 OR stopping IS NULL) AND open_steps > $9
  FOR UPDATE
), m AS MATERIALIZED (
  SELECT r.id AS run_id, r.now, r.status AS run_status, m.* FROM r, json_to_recordset($4) AS m(
    ord int, no bigint, fence int, sources text[], "to" text, event text, more text, actor text, bump int,
    tries int, losses int, route text, out_edges text, waiting_for text, lease float, timeout float, due float,
    undecided int, live int, live_in text, closes bool, opened int, worker text, change text, result_status text,
    output text, passed text, resolved text, input_digest text, error text, agent text, model text,
    tokens_in bigint, tokens_out bigint, cost bigint, reserved bigint)
), s AS (
  UPDATE step SET
    status = m.to, attempt = step.attempt + m.bump,
    tries = CASE WHEN m.to = 'pending' THEN 0 ELSE step.tries + m.tries END,
    losses = CASE WHEN m.losses IS NULL THEN step.losses WHEN m.losses = 0 THEN 0 ELSE step.losses + 1 END,
    route = CASE WHEN m.to <> 'pending' THEN coalesce(m.route, step.route) END,
    out_edges = CASE WHEN m.to <> 'pending' THEN coalesce(m.out_edges, step.out_edges) END,
    live_in = CASE WHEN m.to <> 'pending' THEN step.live_in ELSE m.live_in END,
    undecided = coalesce(m.undecided, step.undecided), live = coalesce(m.live, step.live),
    waiting_for = m.waiting_for,
    queued_at = CASE WHEN m.to = 'queued' THEN m.now ELSE step.queued_at END,
    sent_at = CASE WHEN m.to = 'queued' AND m.run_status IN ('running', 'compensating') THEN m.now END,
    sends = CASE WHEN m.to = 'queued' THEN 1 ELSE step.sends END,
    started_at = CASE WHEN m.change IN ('start', 'whole') THEN coalesce(step.started_at, m.now)
                      ELSE step.started_at END,
    finished_at = CASE WHEN m.closes THEN m.now END,
    lease_until = m.now + make_interval(secs => m.lease),
    timeout_at = coalesce(m.now + make_interval(secs => m.timeout),
                          CASE WHEN m.to = 'waiting' OR m.change = 'resume' THEN step.timeout_at END),
    due_at = to_timestamp(m.due),
    lane = CASE WHEN step.status <> 'waiting' AND m.to <> 'waiting' THEN step.lane END,
    agent_id = CASE WHEN m.change IN ('start', 'whole') THEN NULL ELSE step.agent_id END
  FROM m
  WHERE step.run_id = m.run_id AND step.no = m.no AND step.attempt = m.fence AND step.status = ANY (m.sources)
  RETURNING step.run_id, m.now, step.no, step.path, step.status, step.attempt, step.tries, step.losses, step.live_in,
    step.idempotency_key, m.sources[1] = 'pending' AS begins, m.ord, m.fence, m.event, m.more, m.actor,
    m.opened, m.worker, m.change, m.result_status, m.output, m.passed, m.resolved, m.input_digest, m.error,
    m.agent, m.model, m.tokens_in, m.tokens_out, m.cost, m.reserved
), begun AS (
  INSERT INTO attempt (run_id, no, number, status, worker, claimed_at, begun_at, finished_at, output, passed,
    resolved, input_digest, error, agent, model, tokens_in, tokens_out, cost_microcents, reserved_microcents)
  SELECT s.run_id, s.no, s.attempt, s.result_status, s.worker, s.now, s.now,
    CASE WHEN s.change = 'whole' THEN s.now END, s.output, s.passed, s.resolved, s.input_digest, s.error,
    s.agent, s.model, s.tokens_in, s.tokens_out, s.cost, s.reserved
  FROM s WHERE s.change IN ('start', 'whole')
), ended AS (
  UPDATE attempt SET status = s.result_status, finished_at = s.now, output = s.output, passed = s.passed,
    resolved = coalesce(s.resolved, attempt.resolved),
    input_digest = coalesce(s.input_digest, attempt.input_digest), error = s.error,
    agent = coalesce(s.agent, attempt.agent), model = s.model, tokens_in = s.tokens_in, tokens_out = s.tokens_out,
    cost_microcents = attempt.cost_microcents + s.cost
  FROM s
  WHERE s.change = 'end' AND attempt.run_id = s.run_id AND attempt.no = s.no AND attempt.number = s.fence
), resumed AS (
  UPDATE attempt SET status = s.result_status, worker = s.worker, finished_at = NULL
  FROM s
  WHERE s.change = 'resume' AND attempt.run_id = s.run_id AND attempt.no = s.no AND attempt.number = s.fence
), d AS MATERIALIZED (
  SELECT r.id AS run_id, r.now, r.status AS run_status, e.target, sum(e.decided)::int AS decided,
    sum(e.live)::int AS live, max(e.need) AS need,
    max(e.on_ready) AS on_ready, max(e.chord) AS chord,
    string_agg(CASE WHEN e.live = 1 THEN e.edge::text END, ',') AS live_in
  FROM r, json_to_recordset($5) AS e(
    source bigint, target bigint, decided int, live int, edge int, need int, on_ready text, chord int)
  WHERE e.source IS NULL OR e.source IN (SELECT no FROM s)
  GROUP BY r.id, r.now, r.status, e.target
), t AS (
  UPDATE step SET
    undecided = step.undecided - d.decided, live = step.live + d.live,
    live_in = CASE WHEN d.need IS NULL OR d.live_in IS NULL OR step.status <> 'pending' OR step.live >= d.need
                   THEN step.live_in ELSE concat_ws(',', step.live_in, d.live_in) END,
    in_chord = CASE d.chord WHEN 1 THEN true WHEN 0 THEN false ELSE step.in_chord END,
    status = CASE WHEN step.status = 'pending' AND d.on_ready = 'queue' AND {ready_after} THEN 'queued'
                  ELSE step.status END,
    queued_at = CASE WHEN step.status = 'pending' AND d.on_ready = 'queue' AND {ready_after} THEN d.now
                     ELSE step.queued_at END,
    sent_at = CASE WHEN step.status = 'pending' AND d.on_ready = 'queue' AND {ready_after}
                   THEN CASE WHEN d.run_status IN ('running', 'compensating') THEN d.now END ELSE step.sent_at END,
    sends = CASE WHEN step.status = 'pending' AND d.on_ready = 'queue' AND {ready_after} THEN 1
                 ELSE step.sends END
  FROM d WHERE step.run_id = d.run_id AND step.no = d.target
  RETURNING step.no, step.path, step.attempt, step.tries, step.losses, step.queue, step.in_chord, step.live_in,
    CASE WHEN step.status = 'queued' AND step.queued_at = d.now AND {ready_now} AND NOT {ready_then} THEN 'queued'
         WHEN step.status <> 'pending' THEN NULL
         WHEN {ready_now} THEN CASE WHEN NOT {ready_then} THEN 'inline' END
         WHEN {dead_now} THEN 'dead' END AS verdict
), x AS (
  SELECT 1 AS part, s.ord, s.event AS type, s.path, s.actor,
    format('{{"attempt":%s,"tries":%s,"losses":%s%s%s}}', s.attempt, s.tries, s.losses,
      CASE WHEN s.begins THEN ',"live_in":"' || s.live_in || '"' END, s.more) AS data FROM s
  UNION ALL
  SELECT 2, e.ord, e.type, e.step, e.actor, e.data
  FROM json_to_recordset($6) AS e(ord int, type text, step text, actor text, data text)
  WHERE EXISTS (SELECT FROM s)
  UNION ALL
  SELECT 3, t.no, 'step.queued', t.path, NULL,
    format('{{"attempt":%s,"tries":%s,"losses":%s%s}}', t.attempt, t.tries, t.losses,
      ',"live_in":"' || t.live_in || '"') FROM t WHERE verdict = 'queued'
), logged AS (
  INSERT INTO event (run_id, seq, type, step, at, actor, data, xid)
  SELECT r.id, r.seq + row_number() OVER (ORDER BY x.part, x.ord), x.type, x.path, r.now, x.actor, x.data, r.xid
  FROM r, x
), u AS (
  UPDATE run SET
    seq = r.seq + (SELECT count(*) FROM x), xid = r.xid,
    open_steps = r.open_steps + (SELECT coalesce(sum(opened), 0) FROM s),
    cost_microcents = run.cost_microcents + (SELECT coalesce(sum(cost), 0) FROM s),
    error = CASE WHEN EXISTS (SELECT FROM s) THEN coalesce(run.error, $7) ELSE run.error END,
    stopping = CASE WHEN EXISTS (SELECT FROM s) THEN coalesce(run.stopping, $8) ELSE run.stopping END
  FROM r WHERE run.id = r.id AND EXISTS (SELECT FROM x)
  RETURNING run.open_steps, run.status, run.stopping, run.error IS NOT NULL AS failed
)
SELECT coalesce(u.open_steps, r.open_steps), r.status, coalesce(u.stopping, r.stopping),
  coalesce(u.failed, r.failed), y.*
FROM r LEFT JOIN u ON true LEFT JOIN (
  SELECT 's' AS kind, no, path, status, attempt, tries, losses, live_in, idempotency_key,
    NULL AS queue, NULL::bool AS in_chord, NULL AS verdict, ord FROM s
  UNION ALL
  SELECT 't', no, path, NULL, attempt, tries, losses, live_in, NULL, queue, in_chord, verdict, no FROM t
) y ON true ORDER BY y.kind, y.ord
""".format(  # noqa: S608 - only the readiness rule, written once, is put in
    ready_after="(CASE WHEN d.need IS NULL THEN step.undecided - d.decided = 0 AND step.live + d.live > 0 "
    "ELSE step.live + d.live >= d.need END)",
    ready_now="(CASE WHEN d.need IS NULL THEN step.undecided = 0 AND step.live > 0 ELSE step.live >= d.need END)",
    ready_then="(CASE WHEN d.need IS NULL THEN step.undecided + d.decided = 0 AND step.live - d.live > 0 "
    "ELSE step.live - d.live >= d.need END)",
    dead_now="(CASE WHEN d.need IS NULL THEN step.undecided = 0 AND step.live = 0 "
    "ELSE step.live + step.undecided < d.need END)",
)
TRANSITION = Prepared("transition", ("uuid", "text[]", "bool", "json", "json", "json", "text", "text", "int"), _TEXT)


def apply(session: Session, transition: Transition) -> Transitioned | None:
    """See `models.queries.transitions.apply`."""
    if claims_postgresql.fits(transition):
        return claims_postgresql.apply(session, transition)
    if transition.completions:
        return completions_postgresql.apply(session, transition)
    return whole(session, transition)


def whole(session: Session, transition: Transition) -> Transitioned | None:
    """Carry out any round that claims no target, a claim or a completion too."""
    rows = TRANSITION.rows(session, _parameters(transition))
    return _result(rows) if rows else None


def _parameters(transition: Transition) -> tuple[Any, ...]:
    return (
        transition.run_id,
        list(transition.while_),
        transition.unless_stopping,
        dump_json([_move(ord_, move) for ord_, move in enumerate(transition.moves)]),
        dump_json([_decision(decision) for decision in transition.decisions]),
        dump_json([_extra(ord_, extra) for ord_, extra in enumerate(transition.extras)]),
        None if transition.error is None else dump_json(transition.error),
        transition.stopping,
        len(transition.moves) if transition.unless_last else -1,
    )


def _move(ord_: int, move: Move) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ord": ord_,
        "no": move.no,
        "fence": move.fence,
        "sources": move.sources,
        "to": move.to,
        "event": move.event,
        "more": move.more_text,
        "bump": move.bump,
        "tries": move.tries,
        "closes": move.closes,
        "opened": move.opened,
        "cost": 0,
        "reserved": 0,
    }
    for name in _OPTIONAL:
        value = getattr(move, name)
        if value is not None:
            row[name] = value
    result = move.result
    if result is not None:
        row["result_status"] = result.status
        for name in _RESULT:
            value = getattr(result, name)
            if value is not None:
                row[name] = value
    return row


_OPTIONAL = (
    "actor", "losses", "route", "out_edges", "waiting_for", "lease", "timeout", "due", "undecided", "live",
    "live_in", "worker", "change",
)  # fmt: skip
_RESULT = (
    "output", "passed", "resolved", "input_digest", "error", "agent", "model", "tokens_in", "tokens_out", "cost",
    "reserved",
)  # fmt: skip


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "source": decision.source,
        "target": decision.target,
        "decided": decision.decided,
        "live": decision.live,
        "edge": decision.edge,
        "need": decision.need,
        "on_ready": decision.on_ready,
        "chord": None if decision.chord is None else int(decision.chord),
    }


def _extra(ord_: int, extra: ExtraEvent) -> dict[str, Any]:
    return {
        "ord": ord_,
        "type": extra.type,
        "step": extra.step,
        "actor": extra.actor,
        "data": dump_json(extra.data),
    }


def _result(rows: list[tuple[Any, ...]]) -> Transitioned:
    open_steps, status, stopping, failed = rows[0][:4]
    moved, targets = [], []
    for row in rows:
        kind, no, path, step_status, attempt, tries, losses, live_in, key, queue, in_chord, found, _ = row[4:]
        if kind == "s":
            moved.append(
                Moved(
                    no=no,
                    path=path,
                    status=StepStatus(step_status),
                    attempt=attempt,
                    tries=tries,
                    losses=losses,
                    live_in=live_in,
                    idempotency_key=key,
                )
            )
        elif kind == "t":
            targets.append(
                Target(
                    no=no,
                    path=path,
                    attempt=attempt,
                    queue=queue,
                    in_chord=in_chord,
                    verdict=found,
                    live_in=live_in,
                )
            )
    return Transitioned(
        moved=tuple(moved),
        targets=tuple(targets),
        open_steps=open_steps,
        run_status=status,
        stopping=stopping,
        failed=failed,
    )
