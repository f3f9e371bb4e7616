"""What a live stream of a run's events reads: where each run stands, the events up to there, what steps stream."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import NotFoundError
from models.event import Chunk
from models.queries import chunks as streamed
from models.queries import run_views as queries
from models.queries import spans
from models.states import RUN_TERMINAL
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.run_views import event
from orchestrator.services.shapes import moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The number of a run's last event, and whether the run had ended with it."""

    seq: int
    ended: bool


def head(deps: Deps, actor: Actor, run_id: str) -> Head:
    """Where a run stands. Raises NotFoundError."""
    with deps.db.read() as session:
        row = queries.head(session, actor.workspace_id, run_id)
    if row is None:
        raise NotFoundError(f"There is no run {run_id!r}")
    return Head(seq=row.seq, ended=row.status in RUN_TERMINAL)


def heads(deps: Deps, run_ids: Collection[str]) -> dict[str, Head]:
    """Where these runs stand, in one query; a run that is gone is absent."""
    with deps.db.glance() as session:
        rows = spans.heads(session, run_ids)
    return {row.id: Head(seq=row.seq, ended=row.status in RUN_TERMINAL) for row in rows}


def events(deps: Deps, run_id: str, *, after: int, upto: int, limit: int = 500) -> list[dict[str, Any]]:
    """At most `limit` events of a run from after `after` to `upto`, as callers see them."""
    with deps.db.read() as session:
        return [event(row) for row in queries.events(session, run_id, after=after, upto=upto, limit=limit)]


def fresh(deps: Deps, asked: Mapping[str, tuple[int, int]], limit: int) -> list[dict[str, Any]]:
    """At most `limit` events of these runs by run and number, from after the first number to the last of each."""
    with deps.db.glance() as session:
        return [event(row) for row in spans.events(session, asked, limit)]


def chunks(
    deps: Deps, run_ids: Collection[str], *, after: int, limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """At most `limit` chunks of these runs with ids above `after`: (id, the chunk as callers see it)."""
    with deps.db.glance() as session:
        return [(row.id, _chunk(row)) for row in streamed.after(session, after, run_ids, limit)]


def last_chunk(deps: Deps) -> int:
    """The id of the newest chunk of all."""
    with deps.db.glance() as session:
        return streamed.last(session)


def _chunk(row: Chunk) -> dict[str, Any]:
    """An event of no number: `{seq: null, type, run_id, step, at, data}`."""
    return {
        "seq": None,
        "type": row.type,
        "run_id": row.run_id,
        "step": row.step,
        "at": moment(row.at),
        "data": row.data,
    }
