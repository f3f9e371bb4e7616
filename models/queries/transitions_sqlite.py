"""A round of transitions on SQLite: the same rules in several statements of one BEGIN IMMEDIATE.

SQLite has no data-changing CTE; its one write lock stands for the lock on the run's row. The parameters and
results are those of the PostgreSQL statement, and one suite runs the same histories through both.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from models.base import dump_json
from models.moves import (
    AttemptChange,
    Decision,
    Move,
    Moved,
    OnReady,
    Target,
    Terms,
    Transition,
    Transitioned,
    verdict,
)
from models.states import STARTING, StepStatus

_RUN = """
SELECT seq, open_steps, status, stopping, error, db_now() FROM run
WHERE id = ? AND status IN (SELECT value FROM json_each(?)) AND (NOT ? OR stopping IS NULL)
  AND open_steps > ?
"""
_MOVE = """
UPDATE step SET
  status = :to, attempt = attempt + :bump,
  tries = CASE WHEN :to = 'pending' THEN 0 ELSE tries + :tries END,
  losses = CASE WHEN :losses IS NULL THEN losses WHEN :losses = 0 THEN 0 ELSE losses + 1 END,
  route = CASE WHEN :to <> 'pending' THEN coalesce(:route, route) END,
  out_edges = CASE WHEN :to <> 'pending' THEN coalesce(:out_edges, out_edges) END,
  live_in = CASE WHEN :to <> 'pending' THEN live_in ELSE :live_in END,
  undecided = coalesce(:undecided, undecided), live = coalesce(:live, live), waiting_for = :waiting_for,
  queued_at = CASE WHEN :to = 'queued' THEN :now ELSE queued_at END,
  sent_at = CASE WHEN :to = 'queued' AND :running THEN :now END,
  sends = CASE WHEN :to = 'queued' THEN 1 ELSE sends END,
  started_at = CASE WHEN :begins THEN coalesce(started_at, :now) ELSE started_at END,
  finished_at = CASE WHEN :closes THEN :now END,
  lease_until = :now + :lease, due_at = :due,
  timeout_at = coalesce(:now + :timeout, CASE WHEN :to = 'waiting' OR :resumes THEN timeout_at END),
  lane = CASE WHEN status <> 'waiting' AND :to <> 'waiting' THEN lane END,
  agent_id = CASE WHEN NOT :begins THEN agent_id END
WHERE run_id = :run AND no = :no AND attempt = :fence AND status IN (SELECT value FROM json_each(:sources))
RETURNING path, attempt, tries, losses, live_in, idempotency_key, override
"""
_BEGIN = """
INSERT INTO attempt (run_id, no, number, status, worker, claimed_at, begun_at, finished_at, output, passed,
  resolved, input_digest, error, agent, model, tokens_in, tokens_out, cost_microcents, reserved_microcents)
VALUES (:run, :no, :number, :status, :worker, :now, :now, CASE WHEN :whole THEN :now END, :output, :passed,
  :resolved, :input_digest, :error, :agent, :model, :tokens_in, :tokens_out, :cost, :reserved)
"""
_BEGIN_TARGET = """
INSERT INTO attempt (run_id, no, number, status, worker, claimed_at, begun_at, cost_microcents, reserved_microcents)
SELECT ?, ?, attempt, 'running', ?, ?, ?, 0, 0 FROM step WHERE run_id = ? AND no = ?
"""
_END = """
UPDATE attempt SET status = :status, finished_at = :now, output = :output, passed = :passed,
  resolved = coalesce(:resolved, resolved), input_digest = coalesce(:input_digest, input_digest),
  error = :error, agent = coalesce(:agent, agent), model = :model, tokens_in = :tokens_in, tokens_out = :tokens_out,
  cost_microcents = cost_microcents + :cost
WHERE run_id = :run AND no = :no AND number = :number
"""
_RESUME = """
UPDATE attempt SET status = :status, worker = :worker, finished_at = NULL
WHERE run_id = :run AND no = :no AND number = :number
"""
_STATEMENTS = {
    AttemptChange.START: _BEGIN,
    AttemptChange.WHOLE: _BEGIN,
    AttemptChange.END: _END,
    AttemptChange.RESUME: _RESUME,
}
_COUNTERS = """
SELECT path, status, attempt, tries, losses, undecided, live, live_in, queue, in_chord, override IS NOT NULL
FROM step WHERE run_id = ? AND no = ?
"""
_COUNT = """
UPDATE step SET undecided = ?, live = ?, live_in = ?, in_chord = ? WHERE run_id = ? AND no = ?
"""
_QUEUE = """
UPDATE step SET status = 'queued', queued_at = ?, sent_at = ?, sends = 1
WHERE run_id = ? AND no = ? AND status = 'pending'
"""
_START = """
UPDATE step SET status = 'running', attempt = attempt + 1, queued_at = ?, started_at = coalesce(started_at, ?),
  lease_until = ?, timeout_at = ?, agent_id = NULL
WHERE run_id = ? AND no = ? AND status = 'pending' RETURNING idempotency_key
"""
_EVENT = "INSERT INTO event (run_id, seq, type, step, at, actor, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
_CLOSE = """
UPDATE run SET seq = ?, open_steps = ?, cost_microcents = cost_microcents + ?,
  error = coalesce(error, ?), stopping = coalesce(stopping, ?)
WHERE id = ? RETURNING open_steps, stopping, error
"""


@dataclass(slots=True)
class _Round:
    """What one round has done so far."""

    run_id: str
    now: float
    starts: bool
    events: list[tuple[str, str | None, str | None, str]] = field(default_factory=list)
    opened: int = 0
    cost: int = 0
    terms: Terms | None = None
    started: list[Moved] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Change:
    """The decisions of one target, summed."""

    target: int
    decided: int = 0
    live: int = 0
    need: int | None = None
    on_ready: OnReady = OnReady.QUEUE
    chord: bool | None = None
    live_in: tuple[int, ...] = ()
    timeout: float | None = None


def apply(session: Session, transition: Transition) -> Transitioned | None:
    """See `models.queries.transitions.apply`."""
    cursor: Any = session.connection().connection.cursor()
    most = len(transition.moves) if transition.unless_last else -1
    while_ = json.dumps(transition.while_)
    cursor.execute(_RUN, (transition.run_id, while_, transition.unless_stopping, most))
    row = cursor.fetchone()
    if row is None:
        return None
    seq, open_steps, status, stopping, error, now = row
    done = _Round(run_id=transition.run_id, now=now, starts=status in STARTING, terms=transition.terms)
    moved = [found for move in transition.moves if (found := _move(cursor, done, move)) is not None]
    if moved:
        done.events += [(e.type, e.step, e.actor, dump_json(e.data)) for e in transition.extras]
    sources = {step.no for step in moved} | {None}
    targets = [_count(cursor, done, change) for change in _sum(transition.decisions, sources)]
    if done.events:
        cursor.executemany(
            _EVENT,
            [
                (done.run_id, seq + place, type_, step, now, actor, data)
                for place, (type_, step, actor, data) in enumerate(done.events, 1)
            ],
        )
        first_error = dump_json(transition.error) if moved and transition.error is not None else None
        cursor.execute(
            _CLOSE,
            (
                seq + len(done.events),
                open_steps + done.opened,
                done.cost,
                first_error,
                transition.stopping if moved else None,
                done.run_id,
            ),
        )
        open_steps, stopping, error = cursor.fetchone()
    return Transitioned(
        moved=tuple(moved),
        targets=tuple(targets),
        open_steps=open_steps,
        run_status=status,
        stopping=stopping,
        failed=error is not None,
        started=tuple(done.started),
    )


def _move(cursor: Any, done: _Round, move: Move) -> Moved | None:
    cursor.execute(
        _MOVE,
        {
            "run": done.run_id,
            "now": done.now,
            "running": done.starts,
            "no": move.no,
            "fence": move.fence,
            "sources": json.dumps(move.sources),
            "to": move.to,
            "bump": move.bump,
            "tries": move.tries,
            "losses": move.losses,
            "route": move.route,
            "out_edges": move.out_edges,
            "undecided": move.undecided,
            "live": move.live,
            "live_in": move.live_in,
            "waiting_for": move.waiting_for,
            "begins": move.change in (AttemptChange.START, AttemptChange.WHOLE),
            "closes": move.closes,
            "resumes": move.change is AttemptChange.RESUME,
            "lease": move.lease,
            "timeout": move.timeout,
            "due": move.due,
        },
    )
    row = cursor.fetchone()
    if row is None:
        return None
    path, attempt, tries, losses, live_in, key, override = row
    _record(cursor, done, move, attempt)
    built_from = _built_from(live_in) if move.sources[0] == StepStatus.PENDING else ""
    data = f'{{"attempt":{attempt},"tries":{tries},"losses":{losses}{built_from}{move.more_text}}}'
    done.events.append((move.event, path, move.actor, data))
    done.opened += move.opened
    return Moved(
        no=move.no,
        path=path,
        status=StepStatus(move.to),
        attempt=attempt,
        tries=tries,
        losses=losses,
        live_in=live_in,
        idempotency_key=key,
        override=override if move.change is AttemptChange.START else None,
    )


def _built_from(live_in: str | None) -> str:
    """Which in-edges a step starts with, as a member of its event, where its join starts before all are decided."""
    return "" if live_in is None else f',"live_in":"{live_in}"'


def _record(cursor: Any, done: _Round, move: Move, attempt: int) -> None:
    result = move.result
    if move.change is None or result is None:
        return
    begins = move.change in (AttemptChange.START, AttemptChange.WHOLE)
    cursor.execute(
        _STATEMENTS[move.change],
        {
            "run": done.run_id,
            "now": done.now,
            "no": move.no,
            "number": attempt if begins else move.fence,
            "whole": move.change is AttemptChange.WHOLE,
            "worker": move.worker,
            "status": result.status,
            "output": result.output,
            "passed": result.passed,
            "resolved": result.resolved,
            "input_digest": result.input_digest,
            "error": result.error,
            "agent": result.agent,
            "model": result.model,
            "tokens_in": result.tokens_in,
            "tokens_out": result.tokens_out,
            "cost": result.cost,
            "reserved": result.reserved,
        },
    )
    done.cost += result.cost


def _sum(decisions: Iterable[Decision], sources: set[int | None]) -> list[_Change]:
    changes: dict[int, _Change] = {}
    for decision in decisions:
        if decision.source not in sources:
            continue
        change = changes.get(decision.target) or _Change(decision.target)
        live_in = change.live_in
        if decision.live and decision.edge is not None:
            live_in = (*live_in, decision.edge)
        changes[decision.target] = replace(
            change,
            decided=change.decided + decision.decided,
            live=change.live + decision.live,
            need=decision.need if decision.need is not None else change.need,
            on_ready=decision.on_ready,
            chord=decision.chord if change.chord is None else change.chord or bool(decision.chord),
            live_in=live_in,
            timeout=decision.timeout,
        )
    return [changes[target] for target in sorted(changes)]


def _count(cursor: Any, done: _Round, change: _Change) -> Target:
    cursor.execute(_COUNTERS, (done.run_id, change.target))
    row = cursor.fetchone()
    path, status, attempt, tries, losses, undecided, live, live_in, queue, in_chord, overridden = row
    before = (undecided, live)
    after = (undecided - change.decided, live + change.live)
    if change.need is not None and change.live_in and status == "pending" and live < change.need:
        live_in = ",".join([*([live_in] if live_in else []), *map(str, change.live_in)])
    if change.chord is not None:
        in_chord = change.chord
    cursor.execute(_COUNT, (*after, live_in, in_chord, done.run_id, change.target))
    found = verdict(before, after, change.need) if status == "pending" else None
    if found == "ready" and change.on_ready is not OnReady.INLINE:
        starts = change.on_ready is OnReady.START and not overridden and not in_chord
        found = "started" if starts else "queued"
        attempt += starts
        if starts:
            done.started.append(
                Moved(
                    no=change.target,
                    path=path,
                    status=StepStatus.RUNNING,
                    attempt=attempt,
                    tries=tries,
                    losses=losses,
                    live_in=live_in,
                    idempotency_key=_started(cursor, done, change),
                )
            )
        else:
            sent = done.now if done.starts else None
            cursor.execute(_QUEUE, (done.now, sent, done.run_id, change.target))
        data = f'{{"attempt":{attempt},"tries":{tries},"losses":{losses}{_built_from(live_in)}}}'
        done.events.append((f"step.{found}", path, None, data))
    return Target(
        no=change.target,
        path=path,
        attempt=attempt,
        queue=queue,
        in_chord=bool(in_chord),
        verdict="inline" if found == "ready" else found,
        live_in=live_in,
    )


def _started(cursor: Any, done: _Round, change: _Change) -> str | None:
    """Claim a target that has become ready, and begin its attempt; its idempotency key."""
    terms, key = done.terms, (done.run_id, change.target)
    assert terms is not None
    until = None if change.timeout is None else done.now + change.timeout
    cursor.execute(_START, (done.now, done.now, done.now + terms.lease, until, *key))
    found: str | None = cursor.fetchone()[0]
    cursor.execute(_BEGIN_TARGET, (*key, terms.worker, done.now, done.now, *key))
    return found
