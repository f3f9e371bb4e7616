"""The gateway's server: one boot of it, from listening to the last close. Source: spec "gateway" §2 to §4."""

import asyncio
import json
import socket
import sqlite3
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server as Sockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from orchestrator.gateway.agent_methods import AgentMethods, device_table
from orchestrator.gateway.agents import Agents
from orchestrator.gateway.database import now_ms
from orchestrator.gateway.events import Events
from orchestrator.gateway.files import Files
from orchestrator.gateway.hello import MAX_PAYLOAD, hello
from orchestrator.gateway.ledger import Ledger
from orchestrator.gateway.login import Login, log_in
from orchestrator.gateway.methods import Methods
from orchestrator.gateway.options import Options
from orchestrator.gateway.pairing import Devices
from orchestrator.gateway.peer import Peer
from orchestrator.gateway.player import Player
from orchestrator.gateway.refusal import starting
from orchestrator.gateway.resumes import Resumes
from orchestrator.gateway.run_methods import RunMethods
from orchestrator.gateway.runs import Runs
from orchestrator.gateway.session_methods import SessionMethods
from orchestrator.gateway.sessions import Sessions


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback; port 0 takes a free one. Raises OSError when the port is taken."""
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(512)
    return listener


class Server:
    """One boot. Its memory of runs goes with it; the database stays."""

    def __init__(self, database: sqlite3.Connection, options: Options) -> None:
        self.connect_timeout = options.connect_timeout
        self.starting = False
        self.boot_id = str(uuid.uuid4())
        self._options = options
        self._ledger = Ledger(database)
        self._devices = Devices(database, manual=options.pairing == "manual")
        agents = Agents(database, known_only=options.known_agents_only, create_delay=options.create_delay)
        sessions, files = Sessions(database), Files(database)
        events = Events(self._ledger, self._announce)
        player = Player(files, events, options.die)
        self._runs = Runs(self._ledger, sessions, agents, player, events, most=options.most)
        self._resumes = Resumes(self._runs.resume, options.resume_after)
        self._methods = Methods(
            agents,
            RunMethods(self._runs, tasks_execute=options.tasks_execute).table(),
            SessionMethods(self._runs, self._ledger, sessions, self._resumes.forget).table(),
            AgentMethods(agents, files).table(),
            device_table(self._devices),
        )
        self._peers: set[Peer] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._began = now_ms()
        self._sockets: Sockets | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._peers)

    async def start(self, listener: socket.socket) -> None:
        """Serve on a socket that listens already."""
        for interrupted in self._ledger.recover():
            self._resumes.plan(interrupted)
        self._sockets = await serve(
            self._serve,
            sock=listener,
            process_request=self._before_upgrade,
            max_size=MAX_PAYLOAD,
            compression=None,
            ping_interval=self._options.ping,
            ping_timeout=self._options.ping,
            close_timeout=1,
        )
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self, grace: float = 5.0) -> None:
        """Take nothing new, let runs end within `grace`, tell everybody, close."""
        self._methods.draining = True
        await self._runs.drain(grace)
        await asyncio.gather(*(peer.leave(1012, "service restart") for peer in self._peers))
        await self._close()

    async def kill(self) -> None:
        """End as kill -9 would: no word to anybody, and what ran stays open in the ledger."""
        for peer in tuple(self._peers):
            peer.cut()
        await self._runs.forsake()
        await self._close()

    def hello(self, login: Login) -> dict[str, Any]:
        """The hello-ok of a login."""
        return hello(
            login,
            boot_id=self.boot_id,
            methods=self._methods.names(),
            uptime_ms=now_ms() - self._began,
            tick=self._options.tick,
            draining=self._methods.draining,
        )

    def log_in(self, params: Any, *, nonce: str, origin: str | None) -> Login:
        """Judge a connect request. Raises RefusalError."""
        if self.starting:
            raise starting()
        return log_in(params, token=self._options.token, devices=self._devices, nonce=nonce, origin=origin)

    async def answer(self, peer: Peer, id_: str, method: str, params: Any) -> None:
        await self._methods.answer(peer, id_, method, params)

    async def _close(self) -> None:
        self._resumes.stop()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._sockets is not None:
            self._sockets.close()
            await self._sockets.wait_closed()

    async def _serve(self, connection: ServerConnection) -> None:
        peer = Peer(connection, self)
        self._peers.add(peer)
        try:
            await peer.serve()
        finally:
            self._peers.discard(peer)

    def _before_upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "ok\n")
        if request.path == "/readyz" and not (self.starting or self._methods.draining):
            return connection.respond(HTTPStatus.OK, "ok\n")
        if "X-Forwarded-For" in request.headers:
            return connection.respond(HTTPStatus.FORBIDDEN, "proxy_attribution_required\n")
        if request.path == "/readyz" or self._methods.draining:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "gateway starting or draining\n")
        return None

    def _announce(self, event: str, session_key: str, payload: Mapping[str, Any]) -> None:
        """To every reader; those who asked for it get only tasks and the sessions they named."""
        text = None
        for peer in self._peers:
            if peer.hears(event, session_key):
                text = text or json.dumps(payload)
                peer.event(event, text)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._options.tick)
            text = json.dumps({"ts": now_ms()})
            for peer in self._peers:
                if peer.login is not None:
                    peer.event("tick", text)
