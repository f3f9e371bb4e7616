"""The round that most steps end by, as a statement of its own: running steps succeed, every edge of theirs lives and
leads to a plain join, which is queued, or claimed at once for the worker that asks; the run may end by it in success.

It does what the statement of `transitions_postgresql` does for such a round, at a part of the database's time, and
saves the claim that would follow (docs/decisions/0046-batches.md).
"""

from typing import Any

from sqlalchemy.orm import Session

from models.base import dump_json
from models.moves import Move, Moved, OnReady, Target, Transition, Transitioned
from models.queries.prepared import Prepared, array
from models.states import StepStatus

_TEXT = """
WITH r AS MATERIALIZED (
  SELECT id, seq, open_steps, status, stopping, error IS NOT NULL AS failed, clock_timestamp() AS now,
    greatest(xid, pg_current_xact_id()::text::bigint) AS xid
  FROM run WHERE id = $1 AND status = ANY ($2) AND stopping IS NULL
    AND (open_steps > $3 OR $12 AND open_steps = $3 AND error IS NULL AND status = 'running') FOR UPDATE
), m AS MATERIALIZED (
  SELECT r.id AS run_id, r.now, m.* FROM r, json_to_recordset($4) AS m(
    ord int, no bigint, fence int, sources text[], more text, route text, out_edges text, output text, passed text,
    resolved text, input_digest text, agent text, model text, tokens_in bigint, tokens_out bigint, cost bigint)
), s AS (
  UPDATE step SET
    status = 'success', tries = step.tries + 1, losses = 0, route = coalesce(m.route, step.route),
    out_edges = m.out_edges, waiting_for = NULL, sent_at = NULL, finished_at = m.now, lease_until = NULL,
    timeout_at = NULL, due_at = NULL
  FROM m
  WHERE step.run_id = m.run_id AND step.no = m.no AND step.attempt = m.fence AND step.status = ANY (m.sources)
  RETURNING step.run_id, m.now, step.no, step.path, step.attempt, step.tries, m.ord, m.more, m.output, m.passed,
    m.resolved, m.input_digest, m.agent, m.model, m.tokens_in, m.tokens_out, m.cost
), ended AS (
  UPDATE attempt SET status = 'success', finished_at = s.now, output = s.output, passed = s.passed,
    resolved = coalesce(s.resolved, attempt.resolved),
    input_digest = coalesce(s.input_digest, attempt.input_digest), error = NULL,
    agent = coalesce(s.agent, attempt.agent), model = s.model, tokens_in = s.tokens_in, tokens_out = s.tokens_out,
    cost_microcents = attempt.cost_microcents + s.cost
  FROM s WHERE attempt.run_id = s.run_id AND attempt.no = s.no AND attempt.number = s.attempt
), d AS MATERIALIZED (
  SELECT r.id AS run_id, r.now, e.target, count(*)::int AS decided, bool_or(e.begins) AS begins,
    max(e.timeout) AS timeout, bool_or(e.off_chord) AS off_chord
  FROM r, unnest($5, $6, $7, $8, $9) AS e(source, target, begins, timeout, off_chord)
  WHERE e.source IN (SELECT no FROM s)
  GROUP BY r.id, r.now, e.target
), t AS (
  UPDATE step SET
    undecided = step.undecided - d.decided, live = step.live + d.decided,
    in_chord = step.in_chord AND NOT d.off_chord,
    status = CASE WHEN {met} THEN CASE WHEN {begins} THEN 'running' ELSE 'queued' END ELSE step.status END,
    attempt = step.attempt + CASE WHEN {met} AND {begins} THEN 1 ELSE 0 END,
    queued_at = CASE WHEN {met} THEN d.now ELSE step.queued_at END,
    sent_at = CASE WHEN {met} AND NOT {begins} THEN d.now ELSE step.sent_at END,
    sends = CASE WHEN {met} AND NOT {begins} THEN 1 ELSE step.sends END,
    started_at = CASE WHEN {met} AND {begins} THEN coalesce(step.started_at, d.now) ELSE step.started_at END,
    lease_until = CASE WHEN {met} AND {begins} THEN d.now + make_interval(secs => $10) ELSE step.lease_until END,
    timeout_at = CASE WHEN {met} AND {begins} THEN d.now + make_interval(secs => d.timeout) ELSE step.timeout_at END,
    agent_id = CASE WHEN {met} AND {begins} THEN NULL ELSE step.agent_id END
  FROM d WHERE step.run_id = d.run_id AND step.no = d.target
  RETURNING step.run_id, d.now, step.no, step.path, step.attempt, step.tries, step.losses, step.queue, step.in_chord,
    step.live_in, step.idempotency_key,
    CASE WHEN step.status = 'running' AND step.lease_until = d.now + make_interval(secs => $10) THEN 'started'
         WHEN step.status = 'queued' AND step.queued_at = d.now THEN 'queued' END AS verdict
), begun AS (
  INSERT INTO attempt (run_id, no, number, status, worker, claimed_at, begun_at, cost_microcents,
    reserved_microcents)
  SELECT t.run_id, t.no, t.attempt, 'running', $11, t.now, t.now, 0, 0 FROM t WHERE t.verdict = 'started'
), c AS MATERIALIZED (
  SELECT r.open_steps - count(*) AS open_steps, coalesce(sum(s.cost), 0) AS cost, r.open_steps = count(*) AS over
  FROM r JOIN s ON true GROUP BY r.open_steps
), x AS (
  SELECT 1 AS part, s.ord::bigint AS ord, 'step.completed' AS type, s.path,
    format('{{"attempt":%s,"tries":%s,"losses":0%s}}', s.attempt, s.tries, s.more) AS data FROM s
  UNION ALL
  SELECT 2, t.no, CASE t.verdict WHEN 'started' THEN 'step.started' ELSE 'step.queued' END, t.path,
    format('{{"attempt":%s,"tries":%s,"losses":%s%s}}', t.attempt, t.tries, t.losses,
      ',"live_in":"' || t.live_in || '"') FROM t WHERE t.verdict IS NOT NULL
  UNION ALL
  SELECT 3, 0, 'run.completed', NULL, '{{}}' FROM c WHERE c.over
), logged AS (
  INSERT INTO event (run_id, seq, type, step, at, data, xid)
  SELECT r.id, r.seq + row_number() OVER (ORDER BY x.part, x.ord), x.type, x.path, r.now, x.data, r.xid FROM r, x
), u AS (
  UPDATE run SET
    seq = r.seq + (SELECT count(*) FROM x), xid = r.xid, open_steps = c.open_steps,
    cost_microcents = run.cost_microcents + c.cost, status = CASE WHEN c.over THEN 'success' ELSE run.status END,
    finished_at = CASE WHEN c.over THEN r.now ELSE run.finished_at END
  FROM r, c WHERE run.id = r.id
  RETURNING run.open_steps, run.status
)
SELECT coalesce(u.open_steps, r.open_steps), coalesce(u.status, r.status), r.stopping, r.failed, y.*
FROM r LEFT JOIN u ON true LEFT JOIN (
  SELECT 's' AS kind, no, path, attempt, tries, 0 AS losses, NULL AS live_in, NULL AS idempotency_key,
    NULL AS queue, NULL::bool AS in_chord, NULL AS verdict, ord::bigint AS ord FROM s
  UNION ALL
  SELECT 't', no, path, attempt, tries, losses, live_in, idempotency_key, queue, in_chord, verdict, no FROM t
) y ON true ORDER BY y.kind, y.ord
""".format(  # noqa: S608 - only the rules of readiness, written once, are put in
    met="(step.status = 'pending' AND step.undecided = d.decided)",
    begins="(d.begins AND step.override IS NULL AND NOT (step.in_chord AND NOT d.off_chord))",
)
COMPLETION = Prepared(
    "completion",
    (
        "uuid", "text[]", "int", "json", "bigint[]", "bigint[]", "bool[]", "float[]", "bool[]", "float", "text",
        "bool",
    ),
    _TEXT,
)  # fmt: skip


def apply(session: Session, transition: Transition) -> Transitioned | None:
    """Carry out a round that is nothing but completions; see `models.queries.transitions.apply`."""
    told, terms = transition.decisions, transition.terms
    rows = COMPLETION.rows(
        session,
        (
            transition.run_id,
            list(transition.while_),
            len(transition.moves),
            dump_json([_move(ord_, move) for ord_, move in enumerate(transition.moves)]),
            array(decision.source for decision in told),
            array(decision.target for decision in told),
            array(decision.on_ready is OnReady.START for decision in told),
            array(decision.timeout for decision in told),
            array(decision.chord is False for decision in told),
            None if terms is None else terms.lease,
            None if terms is None else terms.worker,
            transition.ends,
        ),
    )
    return _result(rows) if rows else None


def _move(ord_: int, move: Move) -> dict[str, Any]:
    row: dict[str, Any] = {"ord": ord_, "no": move.no, "fence": move.fence, "sources": move.sources}
    row |= {"more": move.more_text, "out_edges": move.out_edges, "cost": 0}
    if move.route is not None:
        row["route"] = move.route
    for name in _RESULT:
        value = getattr(move.result, name, None)
        if value is not None:
            row[name] = value
    return row


_RESULT = (
    "output", "passed", "resolved", "input_digest", "agent", "model", "tokens_in", "tokens_out", "cost",
)  # fmt: skip


def _result(rows: list[tuple[Any, ...]]) -> Transitioned:
    open_steps, status, stopping, failed = rows[0][:4]
    moved: list[Moved] = []
    started: list[Moved] = []
    targets: list[Target] = []
    for row in rows:
        kind, no, path, attempt, tries, losses, live_in, key, queue, in_chord, verdict, _ = row[4:]
        if kind is None:
            continue
        if kind == "t":
            targets.append(
                Target(
                    no=no,
                    path=path,
                    attempt=attempt,
                    queue=queue,
                    in_chord=in_chord,
                    verdict=verdict,
                    live_in=live_in,
                )
            )
        if kind == "s" or verdict == "started":
            (moved if kind == "s" else started).append(
                Moved(
                    no=no,
                    path=path,
                    status=StepStatus.SUCCESS if kind == "s" else StepStatus.RUNNING,
                    attempt=attempt,
                    tries=tries,
                    losses=losses,
                    live_in=live_in,
                    idempotency_key=key,
                )
            )
    return Transitioned(
        moved=tuple(moved),
        targets=tuple(targets),
        open_steps=open_steps,
        run_status=status,
        stopping=stopping,
        failed=failed,
        started=tuple(started),
    )
