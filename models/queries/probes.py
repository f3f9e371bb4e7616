"""Whether sweeps have anything to do: all of them asked in one statement of index probes.

Each probe says yes wherever its sweep would find something, and may say yes where it would not.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from models.queries.journal import Cursor

_STEPS = {
    "undispatched": ("step WHERE status = 'queued'",),
    "leases": ("step WHERE status = 'running' AND lease_until < {now}",),
    "timeouts": (
        "step WHERE timeout_at IS NOT NULL AND timeout_at < {now}",
        "step WHERE deadline_at IS NOT NULL AND finished_at IS NULL AND deadline_at <= {virtual}",
        "step WHERE beat_until IS NOT NULL AND lease_until IS NOT NULL AND beat_until < {now}",
        "run WHERE status IN ('pending', 'running') AND timeout_at IS NOT NULL AND timeout_at <= {virtual}",
    ),
    "due": (
        "step WHERE due_at IS NOT NULL AND due_at <= {virtual}",
        "run WHERE concurrency_key IS NOT NULL AND finished_at IS NULL AND status = 'pending'",
    ),
    "stops": ("outbox WHERE due_at <= {now} AND kind = 'stop'",),
    "relays": ("outbox WHERE due_at <= {now} AND kind <> 'stop'",),
    "unserved": ("step WHERE status = 'waiting' AND lane IS NOT NULL",),
}
_OTHERS = {
    "answers": (
        "idempotent_answer WHERE created_at < {ago:answers}",
        "hook_delivery WHERE created_at < {ago:numbers}",
    ),
    "agents": (
        "agent WHERE status IN ('online', 'idle', 'busy') AND heartbeat_at < {ago:agents}",
        "work WHERE lease_until <= {now}",
        "work WHERE work.losses >= 3",
    ),
    "gateways": ("gateway WHERE checked_at IS NULL", "gateway WHERE checked_at <= {ago:gateways}"),
    "operational": (
        "operational_event WHERE at < {ago:events}",
        "chunk WHERE at < {ago:chunks}",
        "webhook_delivery WHERE status = 'delivered' AND ended_at < {ago:events}",
        "webhook_delivery WHERE status = 'stopped' AND ended_at < {ago:events}",
        "webhook_delivery WHERE status = 'dead' AND ended_at < {ago:dead}",
    ),
    "webhooks": (
        "webhook_delivery WHERE status = 'sending' AND lease_until < {now}",
        "webhook WHERE enabled IS TRUE AND EXISTS (SELECT 1 FROM webhook_delivery AS due"
        " WHERE due.webhook_id = webhook.id AND due.status = 'pending' AND due.due_at <= {virtual})",
    ),
    "listeners": ("webhook WHERE enabled IS TRUE",),
    "audit": ("audit_unsealed",),
    "schedules": (
        "schedule WHERE due_at IS NOT NULL AND due_at <= {virtual}",
        "schedule_fire WHERE outcome = 'queued' AND kind <> 'backfill'",
        "schedule_backfill WHERE finished_at IS NULL",
    ),
}
_NEWS = {
    "postgresql": ("event WHERE xid >= {run}", "operational_event WHERE xid >= {other_xid}"),
    "sqlite": ("event WHERE event.rowid > {run}", "operational_event WHERE id > {other_id}"),
}
_TERMS = {
    "postgresql": ("now()", "to_timestamp(:virtual)", "now() - make_interval(secs => :{})"),
    "sqlite": ("(SELECT db_now())", ":virtual", "(SELECT db_now()) - :{}"),
}
READERS = ("webhooks", "bus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How far the readers of the journal are, and how many seconds ago each moved; those that never read are absent."""

    cursors: dict[str, Cursor]
    still: dict[str, float]


def places(session: Session) -> Places:
    """Where the readers of the journal stand."""
    now, *_ = _TERMS[_dialect(session)]
    age = (
        f"extract(epoch FROM {now} - moved_at)" if _dialect(session) == "postgresql" else f"{now} - moved_at"
    )
    rows = session.execute(
        text(f"SELECT name, cursor, {age} AS still FROM subscriber WHERE name IN ('webhooks', 'bus')")  # noqa: S608
    ).all()
    return Places(
        cursors={row.name: Cursor.parse(row.cursor) for row in rows},
        still={row.name: float(row.still) for row in rows},
    )


def ask(
    session: Session, at: Places, *, virtual: float, seen: float, ages: dict[str, float]
) -> dict[str, bool]:
    """By sweep, and `listeners`, `webhooks.news`, `bus.news`, `contact`: whether there may be something.

    virtual: the virtual clock, seconds since 1970. seen: after how many seconds the contact of leases is stale.
    ages: in seconds, of `answers`, `numbers`, `agents`, `gateways`, `events`, `chunks`, `dead`.
    """
    values: dict[str, Any] = {"virtual": virtual, "seen": seen, **ages}
    for name in READERS:
        cursor = at.cursors.get(name)
        values[f"{name}_run"] = -1 if cursor is None else cursor.xid
        values[f"{name}_other_xid"] = -1 if cursor is None else cursor.other_xid
        values[f"{name}_other_id"] = -1 if cursor is None else cursor.other_id
    statement = _STATEMENTS[_dialect(session)]
    used = {name: values[name] for name in statement._bindparams}
    row = session.execute(statement, used).one()
    return {name: bool(found) for name, found in zip(_NAMES, row, strict=True)}


def _dialect(session: Session) -> str:
    return "sqlite" if session.get_bind().dialect.name == "sqlite" else "postgresql"


def _statement(dialect: str) -> TextClause:
    now, virtual, ago = _TERMS[dialect]

    def exists(table: str) -> str:
        told = table.replace("{now}", now).replace("{virtual}", virtual)
        for age in _AGES:
            told = told.replace(f"{{ago:{age}}}", ago.format(age))
        return f"EXISTS (SELECT 1 FROM {told})"  # noqa: S608 - put together from constants

    probes = [" OR ".join(map(exists, tables)) for tables in {**_STEPS, **_OTHERS}.values()]
    for name in READERS:
        binds = {part: f":{name}_{part}" for part in ("run", "other_xid", "other_id")}
        probes.append(" OR ".join(exists(table.format(**binds)) for table in _NEWS[dialect]))
    probes.append("NOT " + exists(f"stamp WHERE name = 'leases.seen' AND at > {ago.format('seen')}"))
    return text("SELECT " + ", ".join(probes))


_AGES = ("answers", "numbers", "agents", "gateways", "events", "chunks", "dead")
_NAMES = (*_STEPS, *_OTHERS, "webhooks.news", "bus.news", "contact")
_STATEMENTS = {dialect: _statement(dialect) for dialect in _TERMS}
