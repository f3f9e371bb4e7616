"""Fixture: the gateway that tests use and the real one, for tests that hold both to the same frames."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from orchestrator.drivers.openclaw_handshake import Address
from tests.support.gateways import RawClient

_PATIENCE = 60.0  # a real gateway's first turn takes seconds


class Either:
    """One of the two. `kind` is "local" or "openclaw"."""

    def __init__(self, kind: str, address: Address, raw: Callable[..., RawClient]) -> None:
        self.kind = kind
        self.address = address
        self._raw = raw

    def knock(self, **options: Any) -> RawClient:
        """A socket on which nothing has been said yet."""
        client = self._raw(self.address, **options)
        client.socket.settimeout(_PATIENCE)
        return client

    def client(self, **changes: Any) -> RawClient:
        """A client that came in."""
        client = self.knock()
        answer = client.connect(self.address.token, **changes)
        assert answer["ok"], answer
        return client

    def params(self, key: str, script: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Those of `agent` for a run of the key `key` in a session of its own; `script` as in tests.support.model."""
        return {
            "message": f"Task:\n{self._line(script or {})}\n{key}",
            "agentId": "main",
            "sessionKey": f"agent:main:{key}",
            "idempotencyKey": key,
            "timeout": 60,
        } | changes

    def run(self, client: RawClient, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The two answers to a run."""
        id_ = client.request("agent", params)
        return client.response(id_), client.response(id_)

    def _line(self, script: Mapping[str, Any]) -> str:
        return f"@model {json.dumps(script)}" if self.kind == "openclaw" else f"@gateway {_local(script)}"


def _local(script: Mapping[str, Any]) -> str:
    """A script of the model's in the words of the local gateway."""
    found: dict[str, Any] = {"reply": "done"}
    match script.get("pieces"):
        case [""]:
            found = {"fail": "empty"}
        case [one]:
            found = {"reply": one}
        case [*several] if several:
            found = {"stream": several}
    if "status" in script:
        found = {"fail": "model"}
    if script.get("hold"):
        found["hang"] = True
    if "usage" in script:
        found["usage"] = script["usage"]
    return json.dumps(found)


@pytest.fixture(params=["local", pytest.param("openclaw", marks=pytest.mark.openclaw)])
def either(request: pytest.FixtureRequest, raw: Callable[..., RawClient]) -> Iterator[Either]:
    """Both gateways in turn, the real one where it is asked for."""
    kind = request.param
    if kind == "openclaw":
        return Either(kind, request.getfixturevalue("openclaw").address, raw)
    return Either(kind, request.getfixturevalue("gateways")(known_agents_only=True).address, raw)
