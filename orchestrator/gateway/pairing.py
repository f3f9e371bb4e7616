"""Devices and what an operator lets them do. Source: spec "gateway" §3, Device identity.

On loopback a device is paired silently; where pairing is manual an operator approves the request first, and
again when the device asks for more scopes.
"""

import hmac
import json
import secrets
import sqlite3
import uuid
from collections.abc import Sequence
from typing import Any

from orchestrator.gateway.database import now_ms
from orchestrator.gateway.device import Proof
from orchestrator.gateway.refusal import RefusalError, invalid

_MESSAGES = {
    "not-paired": "device pairing required",
    "scope-upgrade": "scope upgrade pending approval",
}


class Devices:
    """Paired devices and requests to be. `manual`: an operator approves each."""

    def __init__(self, database: sqlite3.Connection, *, manual: bool) -> None:
        self.manual = manual
        self._db = database

    def admit(self, proof: Proof, scopes: Sequence[str]) -> str:
        """The device's token, where it is paired for these scopes. Raises RefusalError (NOT_PAIRED)."""
        row = self._paired(proof.device_id)
        approved = [] if row is None else json.loads(row["scopes"])
        if row is not None and set(scopes) <= set(approved):
            return str(row["token"])
        if not self.manual:
            return self._pair(proof.device_id, proof.public_key, sorted({*approved, *scopes}))
        reason = "not-paired" if row is None else "scope-upgrade"
        details = {
            "code": "PAIRING_REQUIRED",
            "reason": reason,
            "requestId": self._request(proof, scopes),
            "deviceId": proof.device_id,
            "requestedRole": "operator",
            "requestedScopes": list(scopes),
        }
        raise RefusalError("NOT_PAIRED", _MESSAGES[reason], details=details, close=1008)

    def holds(self, proof: Proof, token: str) -> bool:
        """Whether the token is the device's."""
        row = self._paired(proof.device_id)
        return row is not None and hmac.compare_digest(row["token"].encode(), token.encode())

    def covers(self, proof: Proof, scopes: Sequence[str]) -> bool:
        """Whether the device was let in for all these scopes."""
        row = self._paired(proof.device_id)
        return row is not None and set(scopes) <= set(json.loads(row["scopes"]))

    def approve(self, request_id: str) -> dict[str, Any]:
        """Pair the device of a request; its token is a new one. Raises RefusalError."""
        row = self._db.execute("SELECT * FROM pairing WHERE request_id = ?", (request_id,)).fetchone()
        if row is None:
            raise invalid("unknown requestId")
        self._pair(row["device_id"], row["public_key"], json.loads(row["scopes"]))
        self._db.execute("DELETE FROM pairing WHERE request_id = ?", (request_id,))
        return {"requestId": request_id, "device": _device(self._paired(row["device_id"]))}

    def list(self) -> dict[str, Any]:
        """Requests that wait and devices that are paired, without their tokens."""
        waiting = self._db.execute("SELECT * FROM pairing ORDER BY asked_at").fetchall()
        paired = self._db.execute("SELECT * FROM device ORDER BY paired_at").fetchall()
        return {"pending": [_pending(row) for row in waiting], "paired": [_device(row) for row in paired]}

    def _paired(self, device_id: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM device WHERE id = ?", (device_id,)
        ).fetchone()
        return found

    def _pair(self, device_id: str, public_key: str, scopes: Sequence[str]) -> str:
        token = secrets.token_urlsafe(32)
        self._db.execute(
            "INSERT OR REPLACE INTO device VALUES (?, ?, ?, ?, ?)",
            (device_id, public_key, json.dumps(list(scopes)), token, now_ms()),
        )
        return token

    def _request(self, proof: Proof, scopes: Sequence[str]) -> str:
        """The id of the device's request. Asking again for the same keeps it."""
        asked = json.dumps(list(scopes))
        row = self._db.execute("SELECT * FROM pairing WHERE device_id = ?", (proof.device_id,)).fetchone()
        if row is not None and row["scopes"] == asked:
            return str(row["request_id"])
        request_id = str(uuid.uuid4())
        self._db.execute(
            "INSERT OR REPLACE INTO pairing VALUES (?, ?, ?, ?, ?)",
            (request_id, proof.device_id, proof.public_key, asked, now_ms()),
        )
        return request_id


def _pending(row: sqlite3.Row) -> dict[str, Any]:
    scopes = json.loads(row["scopes"])
    asked = {"requestId": row["request_id"], "deviceId": row["device_id"], "ts": row["asked_at"]}
    return asked | {"publicKey": row["public_key"], "role": "operator", "scopes": scopes}


def _device(row: sqlite3.Row | None) -> dict[str, Any]:
    assert row is not None
    return {
        "deviceId": row["id"],
        "publicKey": row["public_key"],
        "role": "operator",
        "approvedScopes": json.loads(row["scopes"]),
        "pairedAtMs": row["paired_at"],
    }
