"""The bridge to agents that are reached over HTTP and answer at once, or later by callback.

The protocol is ours, and small: docs/agents.md, Agents over HTTP.
"""

import json
import math
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import structlog

from models.errors import ErrorCode, InvalidError, UnavailableError
from orchestrator.bridge import Accepted, Dispatch, Endpoint, GatewayParts, Pong, Sent, Unsent
from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded
from orchestrator.drivers.http_answer import answer_in, failed, said_in
from orchestrator.ports import HttpRequest, HttpResponse

_ASK_TIMEOUT = 5.0
_LEAST_WAIT = 5.0
_MOST_WAIT = 24 * 3600.0
_AWAY = (429, 503)
_CUT = (408, 502, 504)  # of a proxy, whose agent may have got the request
_NOT_THERE = (404, 405, 410)

log = structlog.get_logger(__name__)

Result = Succeeded | Failed | Cancelled | Accepted | Unsent


class HttpGateway:
    """Implements orchestrator.bridge.Gateway; keeps nothing between calls."""

    def __init__(self, parts: GatewayParts) -> None:
        self._outbound = parts.outbound
        self._max_bytes = parts.settings.max_body_bytes

    def dispatch(self, endpoint: Endpoint, request: Dispatch) -> Result:
        """POST the work; never raises. An agent that answers 202, or not within the patience, calls back."""
        try:
            return self._earlier(endpoint, request) or self._post(endpoint, request)
        except Exception as error:  # the port promises an outcome
            log.exception("gateway driver failed", run=request.sent.key)
            return failed(ErrorCode.INTERNAL, f"the gateway driver failed: {type(error).__name__}: {error}")

    def look_up(self, endpoint: Endpoint, sent: Sent) -> Succeeded | Failed | Again | None:
        """The answer where the agent shows it at URL/{key}; else None: the callback brings it.

        Raises UnavailableError where the agent does not say.
        """
        found = self._ask("GET", endpoint, sent.key)
        if found.status == 200:
            return answer_in(sent.agent, found)
        if found.status == 202 or found.status in _NOT_THERE:
            return None
        raise UnavailableError(f"the agent at {_shown(endpoint)} answered {found.status} when asked for {sent.key}")

    def stop(self, endpoint: Endpoint, sent: Sent) -> None:
        """DELETE URL/{key}; an agent that knows nothing of it is fine. Raises UnavailableError."""
        found = self._ask("DELETE", endpoint, sent.key)
        if not 200 <= found.status < 300 and found.status not in _NOT_THERE:
            raise UnavailableError(
                f"the agent at {_shown(endpoint)} answered {found.status} when told to stop {sent.key}"
            )

    def ping(self, endpoint: Endpoint, timeout: float) -> Pong:
        """GET URL/health; an agent without one is well too. Raises UnavailableError."""
        found = self._ask("GET", endpoint, "health", timeout)
        if not 200 <= found.status < 300 and found.status not in (404, 405):
            raise UnavailableError(f"{_shown(endpoint)}/health answered {found.status}")
        return Pong()

    def provision(self, endpoint: Endpoint, agent: str, files: Mapping[str, str]) -> None:
        """Raises InvalidError where there is a file: there is no place for it."""
        if files:
            raise InvalidError(
                f"agent {agent} is reached over HTTP at {_shown(endpoint)}, which takes no workspace files: "
                "leave out its files, or give it a gateway of kind openclaw"
            )

    def close(self) -> None:
        """Nothing is kept."""

    def _earlier(self, endpoint: Endpoint, request: Dispatch) -> Succeeded | None:
        """The success of an attempt whose process died, where the agent shows it."""
        for sent in request.earlier:
            try:
                found = self.look_up(endpoint, sent)
            except UnavailableError:
                continue  # it shows none; the keys tell it which attempts belong together
            if isinstance(found, Succeeded):
                return found
        return None

    def _post(self, endpoint: Endpoint, request: Dispatch) -> Result:
        if request.deadline is not None and request.deadline <= time.monotonic():
            return Unsent(reason="the step's time was over before the agent was asked")
        found = self._outbound.send(
            HttpRequest(
                method="POST",
                url=endpoint.url,
                headers=_headers(endpoint) | {"Idempotency-Key": request.sent.key},
                body=json.dumps(_body(request)).encode(),
                deadline=_until(request),
                cancelled=request.cancelled,
                max_bytes=self._max_bytes,
            )
        )
        if isinstance(found, HttpResponse):
            return _read(endpoint, request, found)
        return found if isinstance(found, Cancelled) else _unanswered(request, found)

    def _ask(self, method: str, endpoint: Endpoint, name: str, timeout: float = _ASK_TIMEOUT) -> HttpResponse:
        found = self._outbound.send(
            HttpRequest(
                method=method,
                url=_under(endpoint.url, name),
                headers=_headers(endpoint),
                body=None,
                deadline=time.monotonic() + timeout,
                cancelled=threading.Event(),
                max_bytes=self._max_bytes,
            )
        )
        if isinstance(found, HttpResponse):
            return found
        said = found.error.message if isinstance(found, Failed) else "given up"
        raise UnavailableError(f"the agent does not answer: {said}")


def _read(endpoint: Endpoint, request: Dispatch, found: HttpResponse) -> Result:
    """What a status says. Source: docs/agents.md, Agents over HTTP."""
    status, said = found.status, f"{_shown(endpoint)} answered {found.status}{said_in(found, endpoint.token)}"
    if status == 200:
        return answer_in(request.sent.agent, found)
    if status == 202:
        return Accepted(sent=request.sent)
    if status in _AWAY:
        return Unsent(reason=said)
    if status in _CUT:
        return failed(ErrorCode.NETWORK, said, details={"fate": "unknown"})
    if status in (401, 403):
        return failed(ErrorCode.POLICY_DENIED, f"{said}; check the gateway's token")
    if status == 404:
        return failed(ErrorCode.AGENT_UNAVAILABLE, f"{said}; check the gateway's url")
    if status < 400:
        return failed(ErrorCode.VALIDATION, f"{said}; an agent answers 200 with its answer, or 202")
    return failed(ErrorCode.TOOL_FAILED, said, transient=status >= 500)


def _unanswered(request: Dispatch, failure: Failed) -> Result:
    """No answer: nothing was sent, or the fate of what was sent is unknown."""
    error = failure.error
    if error.details == {"reached": False}:
        return Unsent(reason=error.message)
    late = request.deadline is not None and time.monotonic() >= request.deadline
    if error.code is ErrorCode.TIMEOUT and not late:
        return Accepted(sent=request.sent)  # it works on; it calls back, or is asked
    if error.code is ErrorCode.NETWORK:
        return failed(ErrorCode.NETWORK, error.message, details={"fate": "unknown"})
    return failure


def _until(request: Dispatch) -> float:
    now = time.monotonic()
    wait = _MOST_WAIT if request.patience is None else max(_LEAST_WAIT, request.patience)
    return now + wait if request.deadline is None else min(request.deadline, now + wait)


def _body(request: Dispatch) -> dict[str, Any]:
    task, deadline = request.task, request.deadline
    return {
        "idempotency_key": request.sent.key,
        "run_id": request.run_id,
        "step": request.path,
        "attempt": request.attempt,
        "agent": request.sent.agent,
        "session_key": request.sent.session_key,
        "task": {
            "title": task.title,
            "description": task.description,
            "priority": task.priority,
            "tags": list(task.tags),
        },
        "input": request.input,
        "callback_url": request.callback_url,
        "timeout_seconds": None if deadline is None else max(1, math.ceil(deadline - time.monotonic())),
    }


def _headers(endpoint: Endpoint) -> dict[str, str]:
    found = {"Content-Type": "application/json", "Accept": "application/json"}
    return found | ({"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else {})


def _under(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name, safe='')}"))


def _shown(endpoint: Endpoint) -> str:
    """The address without what may be a secret in it."""
    return endpoint.url.partition("?")[0].rstrip("/")
