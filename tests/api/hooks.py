"""Hooks of the API's tests, and what comes to them."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from standardwebhooks import Webhook
from werkzeug.test import TestResponse

from models.hook import HookDelivery
from models.run import Run
from tests.api.conftest import Api

PLAIN: dict[str, Any] = {
    "name": "plain",
    "inputs": {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]},
    "nodes": [{"id": "a", "type": "set", "values": {"seen": "{{inputs.amount}}"}}],
}
LISTENING: dict[str, Any] = {
    "name": "listening",
    "nodes": [{"id": "wait", "type": "signal", "signal": "signed", "key": "{{inputs.envelope}}"}],
}


def hook(api: Api, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = api.done(api.post("/api/hooks", {"name": "incoming", "workflow": "plain", **fields}), 201)
    return made


def path(made: dict[str, Any]) -> str:
    return "/api/hooks/" + str(made["url"]).rpartition("/")[2]


def come(
    api: Api, made: dict[str, Any], body: Any, headers: dict[str, str] | None = None, **options: Any
) -> TestResponse:
    """Something comes to a hook, from somebody without a key."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    known = {"Content-Type": "application/json", **(headers or {})}
    return api.without_key().call("POST", path(made), data=data, headers=known, **options)


def signed(made: dict[str, Any], body: bytes, number: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    moment = at or datetime.now(UTC)
    return {
        "webhook-id": number,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(made["secret"]).sign(number, moment, body.decode()),
    }


def of_github(secret: str, body: bytes, number: str = "d-1") -> dict[str, str]:
    code = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={code}", "X-GitHub-Delivery": number, "X-GitHub-Event": "push"}


def runs(api: Api) -> list[Run]:
    with api.engine.deps.db.read() as session:
        return list(session.scalars(select(Run).where(Run.workspace_id == api.engine.actor.workspace_id)))


def nothing_came(api: Api) -> bool:
    with api.engine.deps.db.read() as session:
        return not runs(api) and session.scalars(select(HookDelivery)).first() is None
