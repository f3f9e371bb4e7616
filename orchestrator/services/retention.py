"""Runs leave some time after their end, whole, with all that they have called; then the fires of schedules that
started them, and signals that nobody took.

Source: spec "engine", Two kinds of events. Never a run that goes on. By the database's clock, as their ends are.
"""

from models.queries import fires, retention, sweeps
from orchestrator.services.deps import Deps
from orchestrator.services.swept import BATCH, Swept

DAY = 86_400.0
TREES = 200  # looked at in one go
RUNS = 500  # whose rows leave in one transaction
ROWS = 5_000  # of what is left of them, in one transaction
PASSES = 40  # transactions of a sweep, so that it ends


def sweep(deps: Deps) -> Swept:
    """Let the runs of each workspace leave whose time is over, then remove what is left of those that have."""
    with deps.db.read() as session:
        now = sweeps.clock(session)
        kept = retention.kept_for(session, deps.settings.run_retention_days)
    found = sum(_workspace(deps, workspace, now - days * DAY) for workspace, days in kept)
    for _ in range(PASSES):
        gone = _clear(deps)
        found += gone
        if not gone:
            break
    return Swept(found=found)


def _workspace(deps: Deps, workspace_id: str, before: float) -> int:
    """How many runs of a workspace have left."""
    count, place = 0, None
    for _ in range(PASSES):
        with deps.db.read() as session:
            found = retention.ended(session, workspace_id, before, place, TREES)
        if found:
            with deps.db.transaction() as session:
                count += retention.leave(session, [run_id for _, run_id in found], before, RUNS)
        if len(found) < TREES:
            break
        place = found[-1]
    return count + _signals(deps, workspace_id, before) + _fires(deps, workspace_id, before)


def _fires(deps: Deps, workspace_id: str, before: float) -> int:
    with deps.db.read() as session:
        if not fires.any_past(session, workspace_id, before):
            return 0
    with deps.db.transaction() as session:
        return fires.forget(session, workspace_id, before, ROWS)


def _signals(deps: Deps, workspace_id: str, before: float) -> int:
    with deps.db.read() as session:
        if not retention.any_signal(session, workspace_id, before):
            return 0
    with deps.db.transaction() as session:
        return retention.forget_signals(session, workspace_id, before, BATCH)


def _clear(deps: Deps) -> int:
    """One transaction's rows of runs that have left; 0 where nothing could be removed."""
    with deps.db.read() as session:
        if not retention.any_departed(session):
            return 0
    with deps.db.transaction() as session:
        departed = retention.take(session, TREES)
        called = len(retention.follow(session, departed, RUNS))
        gone = retention.clear(session, departed, ROWS)
        if gone < ROWS:
            retention.forget(session, departed)
    return gone + called
