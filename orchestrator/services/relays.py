"""Passing on what runs and those that they call have to tell each other. Each kind is safe to repeat."""

from collections.abc import Callable, Mapping, Sequence

from models.queries import outbox
from models.queries.outbox import Entry
from orchestrator.core.effects import Effect
from orchestrator.services import (
    answering,
    budgets,
    calling,
    provisioning,
    recalling,
    telling,
    undoing_called,
)
from orchestrator.services.deps import Deps


def carry_out(deps: Deps, outbox_id: int) -> Sequence[Effect]:
    """Carry out one entry, which is removed then; what is to be sent. An entry that is done gives nothing."""
    with deps.db.read() as session:
        entry = outbox.get(session, outbox_id)
    return () if entry is None else _BY_KIND[entry.kind](deps, entry)


def _spent(deps: Deps, entry: Entry) -> Sequence[Effect]:
    effects = budgets.refused(deps, entry.run_id)
    with deps.db.transaction() as session:
        outbox.done(session, entry.id)
    return effects


_BY_KIND: Mapping[str, Callable[[Deps, Entry], Sequence[Effect]]] = {
    telling.CALL: calling.begin,
    telling.RECALL: recalling.recall,
    telling.ALIGN: recalling.align,
    telling.ENDED: answering.answer,
    telling.SPENT: _spent,
    telling.PROVISION: provisioning.carry_out,
    telling.UNDO: undoing_called.ask,
}
