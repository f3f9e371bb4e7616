"""The client: where the API is, who calls, and a member for each noun."""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from orchestrator.client.agents import Agents
from orchestrator.client.answers import Readiness
from orchestrator.client.approvals import Approvals
from orchestrator.client.audit import Audit
from orchestrator.client.costs import Costs, Prices
from orchestrator.client.errors import Unavailable
from orchestrator.client.events import Events
from orchestrator.client.gateways import Gateways
from orchestrator.client.hooks import Hooks
from orchestrator.client.keys import Keys
from orchestrator.client.request import Request
from orchestrator.client.runs import Runs
from orchestrator.client.schedules import Schedules
from orchestrator.client.signals import Signals
from orchestrator.client.transport import Transport
from orchestrator.client.webhooks import Webhooks
from orchestrator.client.workflows import Workflows
from orchestrator.client.workspaces import Workspaces


class Client:
    """The API at `url`, by default ORCHESTRATOR_URL, else http://127.0.0.1:8080.

    api_key: by default ORCHESTRATOR_API_KEY. timeout: seconds to wait for an answer. Every call raises
    ClientError, and is sent again up to `retries` times while the API does not answer or answers 503; it is
    done once all the same. Threads may share a client; after a fork make another.
    """

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, timeout: float = 60.0, retries: int = 4
    ) -> None:
        url = url or os.environ.get("ORCHESTRATOR_URL") or "http://127.0.0.1:8080"
        key = api_key or os.environ.get("ORCHESTRATOR_API_KEY")
        self.url = _checked_url(url).rstrip("/")
        self._transport = Transport(self.url, _checked_key(key), timeout=timeout, retries=retries)
        self.workflows = Workflows(self._transport)
        self.runs = Runs(self._transport)
        self.events = Events(self._transport)
        self.approvals = Approvals(self._transport)
        self.signals = Signals(self._transport)
        self.agents = Agents(self._transport)
        self.gateways = Gateways(self._transport)
        self.webhooks = Webhooks(self._transport)
        self.schedules = Schedules(self._transport)
        self.keys = Keys(self._transport)
        self.workspaces = Workspaces(self._transport)
        self.costs = Costs(self._transport)
        self.prices = Prices(self._transport)
        self.audit = Audit(self._transport)
        self.hooks = Hooks(self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def ready(self) -> Readiness:
        """Whether the API takes work, and what is missing; asked once."""
        try:
            found = self._transport.send_once(Request(method="GET", path="/readyz"), self._transport.timeout)
        except Unavailable as error:
            if "missing" not in error.document:
                raise
            found = error.document
        return {"status": found["status"], "missing": found["missing"]}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Any call of the API that has no method here: `path` from `/api` on, `body` as JSON; the answer's JSON."""
        if method.upper() == "GET":
            return self._transport.get(path, **(params or {}))
        return self._transport.write(method, path, body, params=params, idempotency_key=idempotency_key)


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of the API; write it as http://host:8080")
    return url


def _checked_key(key: str | None) -> str | None:
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("The API key has characters that no key has; copy it again")
    return key or None
