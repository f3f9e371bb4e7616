"""Deliveries as callers see them, with what was sent and what came back."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from models.errors import NotFoundError
from models.queries import delivery_log, webhooks
from models.webhook import WebhookAttempt, WebhookDelivery
from orchestrator.services import paging
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

_SHOWN_BODY = 4 << 10  # bytes of what was sent


def of_webhook(
    deps: Deps, actor: Actor, webhook: str, request: PageRequest, statuses: Collection[str]
) -> dict[str, Any]:
    """Those of one webhook. Raises NotFoundError."""
    with deps.db.read() as session:
        if webhooks.find(session, actor.workspace_id, webhook) is None:
            raise missing(webhook)
    return page(deps, actor, request, webhook_id=webhook, statuses=statuses)


def missing(webhook: str) -> NotFoundError:
    return NotFoundError(f"There is no webhook {webhook!r}; GET /api/webhooks lists those that there are")


def page(
    deps: Deps, actor: Actor, request: PageRequest, *, webhook_id: str | None, statuses: Collection[str]
) -> dict[str, Any]:
    """Deliveries of a webhook, or of the workspace, the newest first."""
    scope = ["deliveries", actor.workspace_id, webhook_id, sorted(statuses)]
    before = request.after(scope)
    with deps.db.read() as session:
        rows = delivery_log.page(
            session,
            actor.workspace_id,
            webhook_id=webhook_id,
            statuses=statuses,
            before=before,
            limit=request.limit + 1,
        )
        tried: dict[str, list[WebhookAttempt]] = defaultdict(list)
        for attempt in delivery_log.attempts(session, [row.id for row in rows]):
            tried[attempt.delivery_id].append(attempt)
    show = lambda row: view(deps, row, tried[row.id])  # noqa: E731 - short, and of this page alone
    return paging.page(rows, request, scope, place=lambda row: row.id, show=show)


def view(deps: Deps, row: WebhookDelivery, tried: Iterable[WebhookAttempt]) -> dict[str, Any]:
    """One delivery; `next_attempt_at` in real time, however fast the clock of due times goes."""
    return {
        "id": row.id,
        "webhook_id": row.webhook_id,
        "type": row.type,
        "run_id": row.run_id,
        "seq": row.seq,
        "status": row.status,
        "tries": row.tries,
        "next_attempt_at": _real(deps, row.due_at) if row.status == "pending" else None,
        "body": row.body.encode()[:_SHOWN_BODY].decode("utf-8", "ignore"),
        "created_at": moment(row.created_at),
        "ended_at": moment(row.ended_at),
        "attempts": [_attempt(attempt) for attempt in tried],
    }


def _attempt(row: WebhookAttempt) -> dict[str, Any]:
    response = None
    if row.response_status is not None:
        response = {"status": row.response_status, "headers": row.response_headers, "body": row.response_body}
    return {
        "number": row.number,
        "url": row.url,
        "status": row.status,
        "request": {"headers": row.request_headers},
        "response": response,
        "error": row.error,
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "duration_ms": round((row.finished_at - row.started_at) / timedelta(milliseconds=1)),
    }


def _real(deps: Deps, due_at: datetime | None) -> str | None:
    if due_at is None:
        return None
    seconds = deps.clock.real(due_at.timestamp() - deps.clock.now())
    return moment(datetime.now(UTC) + timedelta(seconds=max(0.0, seconds)))
