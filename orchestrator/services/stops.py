"""Ending the work of an attempt that was given up, at its gateway too: an outbox effect."""

from dataclasses import replace

import structlog
from sqlalchemy.orm import Session

from models.queries import outbox, runs, steps
from models.queries.outbox import Entry
from orchestrator.core import redact
from orchestrator.ports import Stoppable
from orchestrator.services import claiming, data
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps
from orchestrator.services.performing import names_of, prepare

_log = structlog.get_logger(__name__)
TRIES = 12


def carry_out(deps: Deps, outbox_id: int) -> bool:
    """Stop an attempt and remove its entry; False when it has to be tried again later."""
    with deps.db.read() as session:
        entry = outbox.get(session, outbox_id)
        claimed = None if entry is None else _as_claimed(deps, session, entry)
    if entry is None or claimed is None:
        return True
    try:
        _stop(deps, claimed)
    except Exception as error:
        shown = redact.redact(f"{type(error).__name__}: {error}", data.environment(deps.settings).values())
        _log.warning("stop failed", run=entry.run_id, step=claimed.path, error=shown, tries=entry.tries)
        if entry.tries < TRIES:
            return False
    with deps.db.transaction() as session:
        outbox.done(session, outbox_id)
    return True


def _as_claimed(deps: Deps, session: Session, entry: Entry) -> Claimed:
    """The attempt as its worker held it."""
    info = runs.info(session, entry.run_id)
    assert info is not None, f"outbox entry {entry.id} of a run that is not there"
    row = steps.hot(session, entry.run_id, [entry.no])[0]
    key = (entry.data or {}).get("idempotency_key", row.idempotency_key)
    return claiming.as_held(deps, session, info, replace(row, attempt=entry.attempt, idempotency_key=key))


def _stop(deps: Deps, claimed: Claimed) -> None:
    handler: object = deps.handlers[claimed.node.type]
    if isinstance(handler, Stoppable):
        ctx, _ = prepare(deps, claimed, names_of(deps, claimed))
        handler.stop(handler.stop_data(ctx))
