"""The bridge to OpenClaw gateways over WebSocket, protocol 4.

Source: spec "gateway". The parts: `_frames` what is said, `_dial` the way there, `_identity` who we are,
`_handshake` how it begins, `_connection` one socket for many calls, `_call` one of them, `_pool` the sockets of a
process to one gateway, `_line` a socket under a caller's time, `_attempt` one run from sending to outcome,
`_parked` one that nobody waits for, `_stream` what it writes meanwhile, `_fate` one that was lost sight of,
`_tasks` the other way to run one, `_admin` agents set up, `_outcome` and `_prompt` the words on both sides.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from models.errors import ErrorCode, InvalidError, OrchestratorError, UnavailableError
from orchestrator.bridge import Accepted, Dispatch, Endpoint, GatewayParts, Pong, Sent, Unsent
from orchestrator.core.outcome import Again, Cancelled, Failed, Succeeded
from orchestrator.drivers.addresses import Guard, reachable
from orchestrator.drivers.openclaw_admin import Provisioning, agents_of, check_names
from orchestrator.drivers.openclaw_attempt import Attempt
from orchestrator.drivers.openclaw_connection import Connection
from orchestrator.drivers.openclaw_fate import Going, live_heir, look
from orchestrator.drivers.openclaw_frames import (
    ConnectionLostError,
    GatewayDownError,
    GatewayRefusedError,
    text_of,
)
from orchestrator.drivers.openclaw_handshake import ADMIN, Address, Client, NotPairedError
from orchestrator.drivers.openclaw_identity import Identity
from orchestrator.drivers.openclaw_line import Line, Term
from orchestrator.drivers.openclaw_outcome import failed
from orchestrator.drivers.openclaw_parked import Endings, abort_params
from orchestrator.drivers.openclaw_pool import Pool
from orchestrator.drivers.openclaw_tasks import executes_tasks
from orchestrator.drivers.watch import Watch

_ASK_TIMEOUT = 5.0
_HANDSHAKE_TIMEOUT = 10.0

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class _Reached:
    """A gateway that was used: how it was told to be reached, its pool, the device token that it gave last."""

    endpoint: Endpoint
    pool: Pool
    device_token: str | None


class OpenClawGateway:
    """Implements orchestrator.bridge.Gateway; one per process, for any number of gateways and threads."""

    def __init__(self, parts: GatewayParts) -> None:
        self._settings = parts.settings
        self._paired = parts.paired
        self._watch = Watch()
        self._endings = Endings()
        guard = Guard(
            parts.settings.http_allow, permits=reachable, kind="where gateways may be (link-local or metadata)"
        )
        self._client = Client(identity=Identity(parts.device_seed), guard=guard)
        self._lock = threading.Lock()
        self._reached: dict[str, _Reached] = {}

    def dispatch(
        self, endpoint: Endpoint, request: Dispatch
    ) -> Succeeded | Failed | Cancelled | Accepted | Unsent:
        """Have one attempt done; never raises."""
        try:
            request = replace(
                request, sent=_canonical(request.sent), earlier=tuple(map(_canonical, request.earlier))
            )
            return Attempt(self._pool(endpoint), request, self._endings).run()
        except Exception as error:  # the port promises an outcome
            log.exception("gateway driver failed", run=request.sent.key)
            return failed(ErrorCode.INTERNAL, f"the gateway driver failed: {type(error).__name__}: {error}")

    def look_up(self, endpoint: Endpoint, sent: Sent) -> Succeeded | Failed | Again | None:
        """What became of work: None while it goes on or may yet be taken up. Raises UnavailableError."""
        sent = _canonical(sent)
        try:
            found = self._ask(endpoint, _ASK_TIMEOUT, lambda line: _looked(line, sent))
        except (ConnectionLostError, GatewayRefusedError, TimeoutError) as error:
            raise UnavailableError(f"the gateway does not say what became of {sent.key}: {error}") from error
        return None if isinstance(found, Going) else found

    def stop(self, endpoint: Endpoint, sent: Sent) -> None:
        """End work, queued or running; its heir too, where a crash had it taken up under another id.

        Raises UnavailableError when the gateway can't be told.
        """
        sent = _canonical(sent)
        try:
            self._ask(endpoint, _ASK_TIMEOUT, lambda line: _stop(line, sent))
        except (ConnectionLostError, GatewayRefusedError, TimeoutError) as error:
            raise UnavailableError(f"the gateway was not told to stop {sent.key}: {error}") from error

    def ping(self, endpoint: Endpoint, timeout: float) -> Pong:
        """Version and agents of a gateway that is well. Raises UnavailableError and GatewayRefusedError."""
        try:
            return self._ask(endpoint, timeout, _pong, probe=True)
        except (ConnectionLostError, TimeoutError) as error:
            raise UnavailableError(f"the gateway did not answer within {timeout:g} s: {error}") from error

    def provision(self, endpoint: Endpoint, agent: str, files: Mapping[str, str]) -> None:
        """Write an agent's workspace files where they differ, the agent too where it is missing.

        Raises InvalidError for other files than an agent has, and where the token may not; UnavailableError.
        """
        check_names(files)
        self._pool(endpoint)
        try:
            connection = self._open(endpoint, replace(self._client, scopes=ADMIN), idle=_HANDSHAKE_TIMEOUT)
        except NotPairedError as error:
            raise UnavailableError(f"agent {agent} can't be set up yet: {error}") from error
        except GatewayRefusedError as error:
            raise InvalidError(
                f"agent {agent} can't be set up: {error}; the scope operator.admin is needed for that"
            ) from error
        try:
            self._keep(endpoint, connection.hello.device_token)  # with more scopes it is another
            Provisioning(connection, agent).run(files)
        except (ConnectionLostError, TimeoutError) as error:
            raise UnavailableError(f"agent {agent} was not set up at the gateway: {error}") from error
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connections; attempts that wait are lost."""
        with self._lock:
            reached, self._reached = list(self._reached.values()), {}
        for each in reached:
            each.pool.close()
        self._endings.close()

    def locate(self, endpoint: Endpoint) -> Address:
        """Where a gateway is, asked before each connection. Raises UnavailableError where that is not known."""
        return Address(url=endpoint.url, token=endpoint.token)

    def _pool(self, endpoint: Endpoint) -> Pool:
        """The gateway's pool; made anew when it is to be reached otherwise."""
        with self._lock:
            known = self._reached.get(endpoint.id)
            if known is not None and _same_way(known.endpoint, endpoint):
                if endpoint.device_token != known.endpoint.device_token:
                    known.endpoint, known.device_token = endpoint, endpoint.device_token
                return known.pool
            pool = Pool(lambda: self._dial(endpoint), most=self._settings.gateway_pool_max)
            self._reached[endpoint.id] = _Reached(endpoint, pool, endpoint.device_token)
        if known is not None:
            known.pool.retire()
        return pool

    def _dial(self, endpoint: Endpoint) -> Connection:
        connection = self._open(endpoint, self._client, idle=self._settings.gateway_pool_ttl)
        self._keep(endpoint, connection.hello.device_token)
        return connection

    def _open(self, endpoint: Endpoint, client: Client, *, idle: float) -> Connection:
        address = self._address(endpoint)
        try:
            return Connection.open(address, client, self._watch, idle=idle, timeout=_HANDSHAKE_TIMEOUT)
        except GatewayRefusedError as error:
            if self._address(endpoint) == address:
                raise
            raise GatewayDownError("the gateway has just moved", retry_after=0.0) from error

    def _address(self, endpoint: Endpoint) -> Address:
        known = self._reached.get(endpoint.id)
        device_token = endpoint.device_token if known is None else known.device_token
        return replace(self.locate(endpoint), device_token=device_token)

    def _keep(self, endpoint: Endpoint, device_token: str | None) -> None:
        with self._lock:
            known = self._reached.get(endpoint.id)
            if known is None or device_token is None or device_token == known.device_token:
                return
            known.device_token = device_token
        try:
            self._paired(endpoint.id, device_token)
        except Exception:
            log.exception("a gateway's device token was not kept", gateway=endpoint.id)

    def _ask(
        self, endpoint: Endpoint, seconds: float, ask: Callable[[Line], T], *, probe: bool = False
    ) -> T:
        """What a connection is asked, and another one when that was just lost. Raises as Line and Pool."""
        deadline = time.monotonic() + seconds
        for last in (False, True):
            connection = self._pool(endpoint).connection(deadline, probe=probe)
            try:
                return ask(
                    Line(connection=connection, term=Term(deadline=deadline), answer_within=seconds)
                )
            except ConnectionLostError:
                if last:
                    raise
        raise AssertionError("unreachable")


def _looked(line: Line, sent: Sent) -> Succeeded | Failed | Again | Going | None:
    if executes_tasks(line.connection.hello):
        return None  # it answers on the call that is open, or not at all
    return look(line, sent)


def _pong(line: Line) -> Pong:
    health, hello = line.ask("health", {}), line.connection.hello
    if not health.ok or health.payload.get("ok") is False:
        said = health.fault.message if health.fault else "no reason given"
        raise UnavailableError(f"the gateway says that it is not well: {said}")
    return Pong(version=hello.version, agents=_listed(line), device_token=hello.device_token)


def _stop(line: Line, sent: Sent) -> None:
    if executes_tasks(line.connection.hello):
        _abort(line, {"key": sent.session_key})
    elif not _abort(line, abort_params(sent)):
        heir = live_heir(line, sent)
        if heir is None:
            return
        if heir.run_id is None:
            raise UnavailableError(
                f"the gateway has crashed and may yet take {sent.key} up again: it can be stopped then"
            )
        _abort(line, {"key": sent.session_key, "runId": heir.run_id})


def _abort(line: Line, params: Mapping[str, str]) -> bool:
    """Whether there was something to end. Raises UnavailableError when the gateway did not."""
    answer = line.ask("sessions.abort", params)
    if not answer.ok:
        said = answer.fault.message if answer.fault else "no reason given"
        raise UnavailableError(f"the gateway did not stop {params.get('runId', params['key'])}: {said}")
    return text_of(answer.payload, "status") == "aborted"


def _listed(line: Line) -> tuple[str, ...] | None:
    try:
        return agents_of(line)
    except GatewayDownError:
        raise
    except OrchestratorError:
        return None


def _same_way(one: Endpoint, other: Endpoint) -> bool:
    return (one.url, one.token) == (other.url, other.token)


def _canonical(sent: Sent) -> Sent:
    """As gateways know it: keys of sessions are lower-case and name their agent."""
    agent, key = sent.agent.lower(), sent.session_key.lower()
    return replace(sent, agent=agent, session_key=key if key.startswith("agent:") else f"agent:{agent}:{key}")
