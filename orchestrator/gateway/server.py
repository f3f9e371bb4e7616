"""The gateway's server: one boot of it, from listening to the last close. Source: spec "gateway" §2 to §4."""

import asyncio
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server as Sockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from orchestrator.gateway.ledger import Interrupted, Ledger, now_ms
from orchestrator.gateway.login import PROTOCOL, Login
from orchestrator.gateway.methods import Methods
from orchestrator.gateway.peer import Peer
from orchestrator.gateway.runs import Runs

_MAX_PAYLOAD = 26_214_400
_MAX_BUFFERED = 52_428_800
_EVENTS = ["agent", "connect.challenge", "shutdown", "task", "tick"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a gateway behaves. Durations in seconds; `most`: runs at once, over all sessions."""

    token: str = field(repr=False)
    most: int = max(8, 4 * (os.cpu_count() or 1))
    tick: float = 30.0
    connect_timeout: float = 15.0
    resume_after: float = 2.0


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback; port 0 takes a free one. Raises OSError when the port is taken."""
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener


class Server:
    """One boot. Its memory of runs goes with it; the ledger stays."""

    def __init__(self, ledger: Ledger, options: Options) -> None:
        self.token = options.token
        self.connect_timeout = options.connect_timeout
        self.starting = False
        self.boot_id = str(uuid.uuid4())
        self._options = options
        self._ledger = ledger
        self._runs = Runs(ledger, most=options.most, announce=self._announce)
        self._methods = Methods(self._runs, ledger)
        self._peers: set[Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._began = now_ms()
        self._sockets: Sockets | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on a socket that listens already."""
        for interrupted in self._ledger.recover():
            self._spawn(self._resume(interrupted))
        self._sockets = await serve(
            self._serve,
            sock=listener,
            process_request=self._before_upgrade,
            max_size=_MAX_PAYLOAD,
            compression=None,
            ping_interval=25,
            ping_timeout=25,
            close_timeout=1,
        )
        self._spawn(self._tick())

    async def stop(self, grace: float = 5.0) -> None:
        """Take nothing new, let runs end within `grace`, tell everybody, close."""
        self._methods.draining = True
        await self._runs.drain(grace)
        await asyncio.gather(*(peer.leave(1012, "service restart") for peer in self._peers))
        for task in self._tasks:
            task.cancel()
        if self._sockets is not None:
            self._sockets.close()
            await self._sockets.wait_closed()

    def hello(self, login: Login) -> dict[str, Any]:
        """The hello-ok of a login."""
        return {
            "type": "hello-ok",
            "protocol": PROTOCOL,
            "server": {
                "version": "local",
                "buildId": "local",
                "bootId": self.boot_id,
                "connId": str(uuid.uuid4()),
            },
            "features": {"methods": self._methods.names(), "events": _EVENTS, "capabilities": []},
            "snapshot": {
                "presence": [],
                "health": {"ok": True},
                "stateVersion": {"presence": 0, "health": 0},
                "uptimeMs": now_ms() - self._began,
                "sessionDefaults": {"defaultAgentId": "main", "mainKey": "main"},
            },
            "auth": {"method": "token", "role": "operator", "scopes": list(login.scopes)},
            "policy": {
                "maxPayload": _MAX_PAYLOAD,
                "maxBufferedBytes": _MAX_BUFFERED,
                "tickIntervalMs": int(self._options.tick * 1000),
            },
        }

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._peers)

    async def answer(self, peer: Peer, id_: str, method: str, params: Any) -> None:
        await self._methods.answer(peer, id_, method, params)

    async def _serve(self, connection: ServerConnection) -> None:
        peer = Peer(connection, self)
        self._peers.add(peer)
        try:
            await peer.serve()
        finally:
            self._peers.discard(peer)

    def _before_upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path in ("/healthz", "/readyz"):
            return connection.respond(HTTPStatus.OK, "ok\n")
        if "X-Forwarded-For" in request.headers:
            return connection.respond(HTTPStatus.FORBIDDEN, "proxy_attribution_required\n")
        if self._methods.draining:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "gateway draining\n")
        return None

    def _announce(self, event: str, session_key: str, payload: Mapping[str, Any]) -> None:
        """To every reader; those who asked for it get only tasks and the sessions they named."""
        for peer in self._peers:
            login = peer.login
            if login is None or not login.may("operator.read"):
                continue
            scoped = "session-scoped-events" in login.caps
            if not scoped or event == "task" or session_key in peer.sessions:
                peer.event(event, payload)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._options.tick)
            for peer in self._peers:
                if peer.login is not None:
                    peer.event("tick", {"ts": now_ms()})

    async def _resume(self, interrupted: Interrupted) -> None:
        await asyncio.sleep(self._options.resume_after)
        self._runs.resume(interrupted)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
