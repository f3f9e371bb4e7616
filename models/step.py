"""A step: its narrow hot row, and one row for each attempt with what came of it.

Neither has a foreign key: a check of one a transition would lock the run's row once more. Rows are written by
the transition statement alone, and leave with their run; `fsck` finds an orphan.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Identifier, Json, Moment

_AT_AGENT = "agent_id IS NOT NULL AND status IN ('running', 'waiting')"
_UNSERVED = "status = 'waiting' AND lane IS NOT NULL"
_DEADLINE = "deadline_at IS NOT NULL AND finished_at IS NULL"
_BEAT = "beat_until IS NOT NULL AND lease_until IS NOT NULL"
_DEGRADED = "output IS NOT NULL AND error IS NOT NULL"
_HELD = "status = 'queued' AND sent_at IS NULL AND lane IS NOT NULL"


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


class Step(Base):
    """A node of a run.

    `attempt` is the fence and only grows. `undecided` and `live` count the in-edges that have no decision yet
    and those that live. `out_edges` holds a digit for each out-edge in plan order, 1 = live, once the step is
    decided. `live_in` lists the in-edges that lived, for joins that start before all are decided, and for steps
    that stay while sources of theirs are done again. `in_chord` says that the body of a chord carries this join
    on. `lane` names what a queued step that was not sent waits
    for its turn in, `rank` its place there, lower ones first; while it runs or waits it holds `slots` of the
    lane `pool` (orchestrator/core/lanes.py). `agent_id` is the registered agent that works on it while it runs
    or waits; a step that waits for an agent has its demand as `lane`.
    `deadline_at` is until when the step is waited for with all its attempts, by the virtual clock, `beat_until` until
    when a running handler may be silent; what they say of a step that has ended counts for nothing.
    `override` is what an operator has set for this step alone: {timeout?: seconds, retry?}.
    """

    __tablename__ = "step"
    __table_args__ = (
        # Partial, though path is never null: only a statement that compares paths may use it. The hot ones
        # have to take the primary key, and on a table that was small when they were planned both look alike.
        _partial("uq_step_path", "run_id", "path", where="path IS NOT NULL", unique=True),
        _partial("ix_step_queued", "sent_at", where="status = 'queued'"),
        _partial("ix_step_held", "lane", "rank", "queued_at", "no", where=_HELD),
        _partial("ix_step_pool", "pool", where="pool IS NOT NULL AND status IN ('running', 'waiting')"),
        _partial("ix_step_agent", "agent_id", where=_AT_AGENT),
        _partial("ix_step_unserved", "lane", "rank", "queued_at", "no", where=_UNSERVED),
        _partial("ix_step_lease", "lease_until", where="status = 'running'"),
        _partial("ix_step_timeout", "timeout_at", where="timeout_at IS NOT NULL"),
        _partial("ix_step_due", "due_at", where="due_at IS NOT NULL"),
        _partial("ix_step_deadline", "deadline_at", where=_DEADLINE),
        _partial("ix_step_beat", "beat_until", where=_BEAT),
        {"postgresql_with": {"fillfactor": 70}},
    )

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int]
    undecided: Mapped[int]
    live: Mapped[int]
    live_in: Mapped[str | None] = mapped_column(Text)
    out_edges: Mapped[str | None] = mapped_column(Text)
    route: Mapped[str | None] = mapped_column(Text)
    tries: Mapped[int]
    losses: Mapped[int]
    queue: Mapped[str] = mapped_column(String(255))
    in_chord: Mapped[bool]
    sends: Mapped[int]
    queued_at: Mapped[datetime | None] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)
    timeout_at: Mapped[datetime | None] = mapped_column(Moment)
    due_at: Mapped[datetime | None] = mapped_column(Moment)
    deadline_at: Mapped[datetime | None] = mapped_column(Moment)
    beat_until: Mapped[datetime | None] = mapped_column(Moment)
    waiting_for: Mapped[str | None] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(Text)
    lane: Mapped[str | None] = mapped_column(Text)
    rank: Mapped[int | None]
    pool: Mapped[str | None] = mapped_column(Text)
    slots: Mapped[int | None]
    agent_id: Mapped[str | None] = mapped_column(Identifier)
    override: Mapped[Any] = mapped_column(Json, nullable=True)


class Attempt(Base):
    """One try at a step, with its output.

    `passed` lists the steps whose outputs, merged in order, are this output (`-1`: the run's inputs): a
    pass-through is a reference, not a copy. `resolved` is the step's resolved `input_mapping`; with the
    in-edges it rebuilds the input, whose hash is `input_digest`. `rate_key` is the
    lane of the rate limit that it counts for from `claimed_at` on. `assigned` is where its work was sent, for
    whoever has to look it up: {gateway_id, agent, session_key, key}; `agent_id` the registered agent there,
    for whose rate it counts from `begun_at` on. One with both an output and an error is degraded: it failed, and
    succeeded with what its node says; the error then also has `last_success`, {run_id, at}, of what it gave.
    """

    __tablename__ = "attempt"
    __table_args__ = (
        _partial("ix_attempt_rate", "rate_key", "claimed_at", where="rate_key IS NOT NULL"),
        _partial("ix_attempt_degraded", "run_id", where=_DEGRADED),
        _partial("ix_attempt_agent", "agent_id", "begun_at", where="agent_id IS NOT NULL"),
        {"postgresql_with": {"fillfactor": 80}},
    )

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(String(16))
    worker: Mapped[str | None] = mapped_column(String(255))
    claimed_at: Mapped[datetime | None] = mapped_column(Moment)
    begun_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    output: Mapped[Any] = mapped_column(Json, nullable=True)
    passed: Mapped[str | None] = mapped_column(Text)
    resolved: Mapped[Any] = mapped_column(Json, nullable=True)
    input_digest: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[Any] = mapped_column(Json, nullable=True)  # {code, message, transient, details}
    agent: Mapped[str | None] = mapped_column(String(255))
    model: Mapped[str | None] = mapped_column(String(255))
    tokens_in: Mapped[int | None] = mapped_column(BigInteger)
    tokens_out: Mapped[int | None] = mapped_column(BigInteger)
    cost_microcents: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    reserved_microcents: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rate_key: Mapped[str | None] = mapped_column(Text)
    agent_id: Mapped[str | None] = mapped_column(Identifier)
    assigned: Mapped[Any] = mapped_column(Json, nullable=True)
