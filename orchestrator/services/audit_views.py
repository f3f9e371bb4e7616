"""The audit log as people read it: by page, or all that fits a filter as lines."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from models.audit import Audit, AuditSeal
from models.base import dump_json
from models.queries import audit
from models.queries.audit import AuditFilter as AuditFilter
from orchestrator.services import paging
from orchestrator.services.actors import Actor
from orchestrator.services.auditing import content
from orchestrator.services.deps import Deps
from orchestrator.services.paging import PageRequest

_BATCH = 1_000
_SEAL = ("position", "digest", "previous")
COLUMNS = (
    *("id", "at", "actor", "actor_id", "source", "action", "target", "reason", "changes", "before", "after"),
    *("workspace_id", *_SEAL),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def page(deps: Deps, actor: Actor, wanted: AuditFilter, request: PageRequest) -> dict[str, Any]:
    """The acts of the actor's workspace that fit, newest first."""
    scope = ["audit", actor.workspace_id, {name: str(value) for name, value in asdict(wanted).items()}]
    before = request.after(scope)
    with deps.db.read() as session:
        rows = audit.page(session, actor.workspace_id, wanted, before=before, limit=request.limit + 1)
    return paging.page(rows, request, scope, place=lambda row: row[0].id, show=lambda row: _view(*row))


def lines(deps: Deps, actor: Actor, wanted: AuditFilter, format_: str) -> Iterator[str]:
    """All acts that fit, newest first, as `jsonl` or `csv`; read a thousand at a time, with nothing open between."""
    write = _WRITERS[format_]
    if format_ == "csv":
        yield _row(COLUMNS)
    before = None
    while True:
        with deps.db.read() as session:
            rows = audit.page(session, actor.workspace_id, wanted, before=before, limit=_BATCH)
        if not rows:
            return
        yield "".join(write(_view(*row)) for row in rows)
        before = rows[-1][0].id


def _view(row: Audit, seal: AuditSeal | None) -> dict[str, Any]:
    """What was digested, and the seal: null until the sweep has come by."""
    sealed = None if seal is None else {name: getattr(seal, name) for name in _SEAL}
    return {**content(row), "seal": sealed}


def _json(view: dict[str, Any]) -> str:
    return dump_json(view) + "\n"


def _csv(view: dict[str, Any]) -> str:
    flat = {**view, **(view["seal"] or {}), "changes": json.dumps(view["changes"], ensure_ascii=False)}
    return _row([flat.get(name) for name in COLUMNS])


def _row(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_safe(cell) for cell in cells])
    return buffer.getvalue()


def _safe(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


_WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {"jsonl": _json, "csv": _csv}
FORMATS = tuple(_WRITERS)
