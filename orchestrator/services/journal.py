"""The journal as callers see it."""

from typing import Any

from models.queries.journal import Entry
from orchestrator.services.shapes import moment


def shown(entry: Entry) -> dict[str, Any]:
    """`{seq, type, run_id, step?, at, actor?, data}`; of no run: `{seq: null, type, at, data}`."""
    event: dict[str, Any] = {"seq": entry.seq, "type": entry.type}
    if entry.run_id is not None:
        event["run_id"] = entry.run_id
    if entry.step is not None:
        event["step"] = entry.step
    event["at"] = moment(entry.at)
    if entry.actor is not None:
        event["actor"] = entry.actor
    return {**event, "data": entry.data}
