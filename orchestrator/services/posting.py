"""One POST of a delivery: signed anew each time, guarded, and all that is kept of it."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from models.errors import OrchestratorError
from models.queries import sweeps
from models.queries.deliveries import Claimed, Lost
from models.webhook import Webhook
from orchestrator.core.outcome import Cancelled, Failed
from orchestrator.ports import HttpRequest, HttpResponse
from orchestrator.services import vault, webhook_secrets
from orchestrator.services.deps import Deps

SECONDS = 15.0  # for all of it: name, connection, answer
AGENT = "celery-orchestrator"
_READ = 64 << 10
_KEPT_BODY = 4 << 10
_KEPT_HEADERS, _KEPT_HEADER = 50, 500
_HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """How a POST went. error: why it counts as failed; retry_after: seconds that the receiver asked for.

    row: what is kept of it.
    """

    error: str | None
    status: int | None
    retry_after: float | None
    row: Mapping[str, Any]


def post(deps: Deps, claimed: Claimed) -> Posted:
    """Send a delivery once; only 2xx is a success, no redirect is followed. Never raises for what comes back."""
    began = time.time()
    headers: dict[str, str] = {}
    answer: HttpResponse | Failed | Cancelled | str
    try:
        headers = _headers(deps, claimed)
        answer = deps.outbound.send(
            HttpRequest(
                method="POST",
                url=claimed.url,
                headers=headers,
                body=claimed.body.encode(),
                deadline=time.monotonic() + SECONDS,
                cancelled=threading.Event(),
                max_bytes=_READ,
            )
        )
    except OrchestratorError as error:
        answer = str(error)  # the secret does not open
    code, message = _failure(answer)
    response = answer if isinstance(answer, HttpResponse) else None
    row = {
        "delivery_id": claimed.id,
        "number": claimed.attempt,
        "url": claimed.url,
        "status": "delivered" if message is None else "failed",
        "request_headers": {**headers, "webhook-signature": _HIDDEN},
        "response_status": None if response is None else response.status,
        "response_headers": None if response is None else _cut_headers(response.headers),
        "response_body": None if response is None else _text(response.body[:_KEPT_BODY]),
        "error": None if message is None else {"code": code, "message": message},
        "started_at": datetime.fromtimestamp(began, UTC),
        "finished_at": datetime.fromtimestamp(time.time(), UTC),
    }
    return Posted(
        error=message,
        status=None if response is None else response.status,
        retry_after=None if response is None else _retry_after(response),
        row=row,
    )


def lost(lost: Lost, webhook: Webhook | None, at: datetime) -> dict[str, Any]:
    """What is kept of an attempt whose worker has died with it."""
    message = "the worker was lost while it sent this; it is sent again under the same id"
    return {
        "delivery_id": lost.id,
        "number": lost.attempt,
        "url": "" if webhook is None else webhook.url,
        "status": "lost",
        "request_headers": {},
        "response_status": None,
        "response_headers": None,
        "response_body": None,
        "error": {"code": "WORKER_LOST", "message": message},
        "started_at": lost.begun,
        "finished_at": at,
    }


def _headers(deps: Deps, claimed: Claimed) -> dict[str, str]:
    with deps.db.read() as session:
        database_now = sweeps.moment(session)
    sealed = [claimed.secret]
    if claimed.previous_secret and claimed.previous_until and database_now < claimed.previous_until:
        sealed.append(claimed.previous_secret)
    at = datetime.fromtimestamp(time.time(), UTC)  # receivers compare it with their own, real clock
    secrets = [vault.unseal(deps.settings, secret) for secret in sealed]
    return {
        "content-type": "application/json",
        "user-agent": AGENT,
        "webhook-id": claimed.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": webhook_secrets.sign(secrets, claimed.id, at, claimed.body),
    }


def _failure(answer: HttpResponse | Failed | Cancelled | str) -> tuple[str, str | None]:
    match answer:
        case str():
            return "INTERNAL", answer
        case Cancelled():
            return "CANCELLED", "the request was given up"
        case Failed(error=error):
            return error.code.value, error.message
        case HttpResponse(status=status) if 200 <= status < 300:
            return "", None
        case HttpResponse(status=status) if 300 <= status < 400:
            return "TOOL_FAILED", f"the receiver answered {status}; redirects are not followed: change the url"
    return "TOOL_FAILED", f"the receiver answered {answer.status}"


def _retry_after(response: HttpResponse) -> float | None:
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _cut_headers(headers: Mapping[str, str]) -> dict[str, str]:
    kept = list(headers.items())[:_KEPT_HEADERS]
    return {name[:_KEPT_HEADER]: _text(value.encode("utf-8", "replace"))[:_KEPT_HEADER] for name, value in kept}


def _text(raw: bytes) -> str:
    """Bytes from outside as text that a database holds."""
    return raw.decode("utf-8", "replace").replace("\x00", "\ufffd")
