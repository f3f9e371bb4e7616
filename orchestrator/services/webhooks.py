"""Webhooks as admins keep them: made, changed, disabled, removed, given another secret, tried out.

A secret is shown once, when it is made; a repeat of that call by its `Idempotency-Key` shows it again, from what is
kept encrypted.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from models.base import uuid7
from models.errors import ConflictError, InvalidError, Problem
from models.queries import deliveries, delivery_log, subscribers, sweeps
from models.queries import webhooks as queries
from models.webhook import Webhook
from orchestrator.core import event_types
from orchestrator.services import auditing, delivery_views, paging, vault, webhook_feed, webhook_secrets
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.shapes import moment

LOOKUP_SECONDS = 5.0
MOST = 200  # of a workspace: each event is compared with all of them
TEST = "webhook.test"


def create(deps: Deps, actor: Actor, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """A new webhook with its `secret`. Raises InvalidError (url, events, secret), ConflictError (too many)."""
    _check_events(body["events"])
    _check_url(deps, body["url"])
    values = {
        "workspace_id": actor.workspace_id,
        "url": body["url"],
        "events": list(dict.fromkeys(body["events"])),
        "description": body["description"],
        "secret": _sealed(deps, body.get("secret")),
    }
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            if queries.count(session, actor.workspace_id) >= MOST:
                raise ConflictError(f"A workspace has at most {MOST} webhooks; remove one first")
            made = found(session, actor, queries.add(session, values))
            subscribers.begin(session, webhook_feed.NAME)  # the first sweep may come later than the first event
            auditing.record(session, actor, "webhook.create", f"webhook:{made.id}", after=_told(made))
            kept = {**view(made), "secret": made.secret}
            once.finish(session, kept)
    return _with_secret(deps, kept)


def get(deps: Deps, actor: Actor, webhook: str) -> dict[str, Any]:
    """A webhook by its id. Raises NotFoundError."""
    with deps.db.read() as session:
        return view(found(session, actor, webhook))


def list_(deps: Deps, actor: Actor, request: PageRequest) -> dict[str, Any]:
    """The workspace's webhooks, the newest first."""
    scope = ["webhooks", actor.workspace_id]
    before = request.after(scope)
    with deps.db.read() as session:
        rows = queries.page(session, actor.workspace_id, before=before, limit=request.limit + 1)
    return paging.page(rows, request, scope, place=lambda row: row.id, show=view)


def update(deps: Deps, actor: Actor, webhook: str, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """Change what is given. What waits for a webhook that is disabled is stopped; enabled, it gets events from then on.

    Raises NotFoundError, InvalidError (url, events).
    """
    if "events" in body:
        _check_events(body["events"])
    if "url" in body:
        _check_url(deps, body["url"])
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = locked(session, actor, webhook)
        before, was_enabled = _told(row), row.enabled
        given = {name: body[name] for name in ("url", "events", "description") if name in body}
        queries.change(session, row.id, given)
        if body.get("enabled") is False and was_enabled:
            queries.disable(session, row.id, None)
            deliveries.stop(session, row.id)
        if body.get("enabled") is True and not was_enabled:
            queries.enable(session, row.id)
        session.expire_all()
        changed = found(session, actor, row.id)
        answer, target = view(changed), f"webhook:{row.id}"
        auditing.record(session, actor, "webhook.update", target, before=before, after=_told(changed))
        once.finish(session, answer)
        return answer


def remove(deps: Deps, actor: Actor, webhook: str, once: Once) -> dict[str, Any]:
    """Remove a webhook; what waits for it is stopped. Raises NotFoundError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = locked(session, actor, webhook)
        answer, told = view(row), _told(row)
        deliveries.stop(session, row.id)
        queries.remove(session, row.id)
        auditing.record(session, actor, "webhook.delete", f"webhook:{answer['id']}", before=told)
        once.finish(session, answer)
        return answer


def rotate_secret(deps: Deps, actor: Actor, webhook: str, body: Mapping[str, Any], once: Once) -> dict[str, Any]:
    """The webhook with a new `secret`; the one before signs beside it for `grace_seconds`.

    Raises NotFoundError, InvalidError (secret).
    """
    sealed = _sealed(deps, body.get("secret"))
    with deps.db.transaction() as session:
        kept = once.begin(session)
        if kept is None:
            row = locked(session, actor, webhook)
            until = sweeps.moment(session) + timedelta(seconds=body["grace_seconds"])
            previous = {"previous_secret": row.secret, "previous_until": until}
            if not body["grace_seconds"]:
                previous = {"previous_secret": None, "previous_until": None}
            queries.change(session, row.id, {**previous, "secret": sealed})
            session.expire_all()
            changed = found(session, actor, row.id)
            told = {"id": row.id, "grace_seconds": body["grace_seconds"]}
            auditing.record(session, actor, "webhook.rotate", f"webhook:{row.id}", after=told)
            kept = {**view(changed), "secret": sealed}
            once.finish(session, kept)
    return _with_secret(deps, kept)


def test(deps: Deps, actor: Actor, webhook: str, once: Once) -> dict[str, Any]:
    """A delivery of an event `webhook.test`, whatever the webhook asks for. Raises NotFoundError, ConflictError."""
    with deps.db.transaction() as session:
        if (kept := once.begin(session)) is not None:
            return kept
        row = locked(session, actor, webhook)
        check_enabled(row)
        name, now = f"test:{uuid7()}", sweeps.moment(session)
        values = {
            "workspace_id": row.workspace_id,
            "webhook_id": row.id,
            "event": name,
            "type": TEST,
            "run_id": None,
            "seq": None,
            "body": webhook_feed.body(TEST, now, {"run_id": None, "workflow": None, "webhook_id": row.id}),
        }
        deliveries.add(session, [values], datetime.fromtimestamp(deps.clock.now(), UTC))
        made = delivery_log.of_event(session, row.id, name)
        answer = delivery_views.view(deps, made, ())
        auditing.record(session, actor, "webhook.test", f"webhook:{row.id}", after={"delivery": made.id})
        once.finish(session, answer)
        return answer


def check_enabled(row: Webhook) -> None:
    """Raises ConflictError."""
    if not row.enabled:
        raise ConflictError(f"The webhook {row.id} is disabled; PATCH it with enabled: true first")


def view(row: Webhook) -> dict[str, Any]:
    """A webhook as callers see it, without its secrets."""
    return {
        "id": row.id,
        "url": row.url,
        "events": row.events,
        "description": row.description,
        "enabled": row.enabled,
        "disabled_at": moment(row.disabled_at),
        "disabled_reason": row.disabled_reason,
        "failures": row.failures,
        "failing_since": moment(row.failing_since),
        "last_success_at": moment(row.last_success_at),
        "last_failure_at": moment(row.last_failure_at),
        "error": row.error,
        "previous_secret_until": moment(row.previous_until),
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
    }


def _told(row: Webhook) -> dict[str, Any]:
    """A webhook as the audit log has it: what people set, nothing about secrets."""
    return {name: value for name, value in view(row).items() if name in _SET}


_SET = ("id", "url", "events", "description", "enabled")


def found(session: Session, actor: Actor, webhook: str) -> Webhook:
    """A webhook of the actor's workspace. Raises NotFoundError."""
    return _or_missing(queries.find(session, actor.workspace_id, webhook), webhook)


def locked(session: Session, actor: Actor, webhook: str) -> Webhook:
    """The same, for this transaction alone."""
    return _or_missing(queries.lock(session, actor.workspace_id, webhook), webhook)


def _or_missing(row: Webhook | None, webhook: str) -> Webhook:
    if row is None:
        raise delivery_views.missing(webhook)
    return row


def _check_events(events: Sequence[str]) -> None:
    wrong = [
        Problem(
            pointer=f"/events/{at}",
            code="INVALID_VALUE",
            message=f"{text!r:.100} picks no events; write a type such as step.failed, run.* or *",
        )
        for at, text in enumerate(events)
        if not event_types.is_pattern(text)
    ]
    if wrong:
        raise InvalidError(wrong[0].message, wrong)


def _check_url(deps: Deps, url: str) -> None:
    """Asks the network, so no transaction may be open. Each attempt checks again what the name leads to then."""
    refusal = deps.outbound.refusal(url, LOOKUP_SECONDS)
    if refusal is not None:
        raise InvalidError(refusal, [Problem(pointer="/url", code="INVALID_VALUE", message=refusal)])


def _sealed(deps: Deps, given: str | None) -> str:
    wrong = None if given is None else webhook_secrets.problem(given)
    if wrong is not None:
        raise InvalidError(wrong, [Problem(pointer="/secret", code="INVALID_VALUE", message=wrong)])
    return vault.seal(deps.settings, given or webhook_secrets.new())


def _with_secret(deps: Deps, kept: Mapping[str, Any]) -> dict[str, Any]:
    return {**kept, "secret": vault.unseal(deps.settings, kept["secret"])}
