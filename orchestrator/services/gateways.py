"""Gateways as steps reach them: where they are, whether they are well.

Health is what pings and dispatches found: the third failure in a row makes a gateway unhealthy, the next answer well.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.orm import Session

from models.agent import Agent
from models.errors import OrchestratorError
from models.gateway import Gateway
from models.queries import agents, operational
from models.queries import gateways as queries
from orchestrator.bridge import Endpoint, Pong
from orchestrator.core import agent_keys, redact
from orchestrator.core.effects import Effect
from orchestrator.services import vault

if TYPE_CHECKING:
    from orchestrator.services.deps import Deps

_log = structlog.get_logger(__name__)
LOCAL = "local"
FAILURES = 3
PING_SECONDS = 2.0
_LONGEST = 500


def endpoint(deps: "Deps", session: Session, gateway_id: str) -> Endpoint | None:
    """A gateway as its driver reaches it, None when it is gone. Raises ConflictError for a token that does not open."""
    row = queries.get(session, gateway_id)
    return None if row is None else _endpoint(deps, row)


def secrets(deps: "Deps", session: Session, gateway_id: str) -> list[str]:
    """What opens a gateway, to be masked in what its agents say."""
    row = queries.get(session, gateway_id)
    return [] if row is None else _secrets(deps, row)


def default(deps: "Deps", session: Session, workspace_id: str) -> str | None:
    """The id of the gateway for agents that are not registered; None when there is none.

    That of kind `local` is made in this transaction where a local gateway has written its file.
    """
    found = queries.default(session, workspace_id)
    if found is None and (deps.settings.data_dir / "gateway.json").exists():
        return ensure_local(session, workspace_id)
    return None if found is None else found.id


def ensure_local(session: Session, workspace_id: str) -> str | None:
    """The workspace's gateway of kind `local`, made when it is missing; None when another has its name."""
    values = {"workspace_id": workspace_id, "name": LOCAL, "kind": LOCAL, "is_default": False, "failures": 0}
    known = queries.of_kind(session, workspace_id, LOCAL)
    return known or queries.add(session, values) or queries.of_kind(session, workspace_id, LOCAL)


def well(deps: "Deps", gateway_id: str, pong: Pong | None) -> tuple[Effect, ...]:
    """A gateway answered, to a ping or (None) to a dispatch: note it. What can go on now is to be sent."""
    if pong is None and _is_well(deps, gateway_id):
        return ()
    with deps.db.transaction() as session:
        row = queries.get(session, gateway_id, lock=True)
        if row is None:
            return ()
        workspace_id, was = row.workspace_id, row.status
        if was == "unhealthy":
            operational.note(session, "gateway.healthy", [(workspace_id, _about(row))])
        queries.well(session, gateway_id, None if pong is None else pong.version)
        back = pong is not None and _hear(session, row, pong)
        if pong is not None and pong.device_token is not None:
            queries.paired(session, gateway_id, vault.seal(deps.settings, pong.device_token))
    return _released(deps, workspace_id) if back or was != "healthy" else ()


def _released(deps: "Deps", workspace_id: str) -> tuple[Effect, ...]:
    from orchestrator.services import unserved  # it needs a process's parts, which are built with this module

    return unserved.release(deps, workspace_id)


def _is_well(deps: "Deps", gateway_id: str) -> bool:
    with deps.db.glance() as session:
        row = queries.get(session, gateway_id)
    return row is None or (row.status == "healthy" and row.failures == 0)


def _hear(session: Session, gateway: Gateway, pong: Pong) -> bool:
    """The agents that send no heartbeats are there when their gateway lists them; whether one came back."""
    silent = agents.silent_at(session, gateway.id)
    here = [agent.id for agent in silent if _is_listed(agent, pong)]
    if not here:
        return False
    back = agents.refresh(session, here)
    about = [(row.workspace_id, {"agent_id": row.id, "name": row.name}) for row in back]
    operational.note(session, "agent.online", about)
    return bool(back)


def _is_listed(agent: Agent, pong: Pong) -> bool:
    return pong.agents is None or agent_keys.agent_id(agent.name, agent.session_key) in pong.agents


def failed(deps: "Deps", gateway_id: str, reason: str) -> tuple[Effect, ...]:
    """A gateway could not be reached, or would not let us in; nothing follows but that its steps wait."""
    with deps.db.read() as session:
        row = queries.get(session, gateway_id)
        if row is None:
            return ()
        shown = redact.redact(reason, _secrets(deps, row))[:_LONGEST]
        if row.status == "unhealthy" and row.error == shown:
            return ()
    with deps.db.transaction() as session:
        times = queries.failed(session, gateway_id, shown)
        if times >= FAILURES and queries.unhealthy(session, gateway_id):
            about = {**_about(row), "error": shown}
            operational.note(session, "gateway.unhealthy", [(row.workspace_id, about)])
            _log.warning("gateway unhealthy", gateway=row.name, error=shown)
    return ()


def paired(deps: "Deps", gateway_id: str, device_token: str) -> None:
    """Keep the device token that a gateway gave this installation, encrypted."""
    sealed = vault.seal(deps.settings, device_token)
    with deps.db.transaction() as session:
        queries.paired(session, gateway_id, sealed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a ping found: a pong, or why there was none."""

    pong: Pong | None = None
    reason: str | None = None
    latency_ms: int | None = None
    effects: tuple[Effect, ...] = ()


def ask(deps: "Deps", gateway_id: str) -> Asked:
    """Ping a gateway, outside of any transaction, and note what came of it."""
    began = perf_counter()
    try:
        pong = _ping(deps, gateway_id)
    except OrchestratorError as error:
        return _silent(deps, gateway_id, str(error))
    except Exception as error:
        _log.exception("driver raised", gateway=gateway_id)
        return _silent(deps, gateway_id, f"its driver broke: {type(error).__name__}")
    took = round((perf_counter() - began) * 1000)
    return Asked(pong=pong, latency_ms=took, effects=well(deps, gateway_id, pong))


def _ping(deps: "Deps", gateway_id: str) -> Pong:
    with deps.db.read() as session:
        found = endpoint(deps, session, gateway_id)
    if found is None:
        raise OrchestratorError("the gateway is gone")
    driver = deps.gateways.get(found.kind)
    if driver is None:
        raise OrchestratorError(f"there is no driver for gateways of kind {found.kind!r}; install its plug-in")
    return driver.ping(found, PING_SECONDS)


def _silent(deps: "Deps", gateway_id: str, reason: str) -> Asked:
    effects = failed(deps, gateway_id, reason)
    with deps.db.read() as session:
        row = queries.get(session, gateway_id)
    return Asked(reason=reason if row is None else row.error, effects=effects)


def _endpoint(deps: "Deps", row: Gateway) -> Endpoint:
    return Endpoint(
        id=row.id,
        kind=row.kind,
        url=row.url or "",
        token=_open(deps, row.token),
        device_token=_open(deps, row.device_token),
    )


def _open(deps: "Deps", sealed: str | None) -> str | None:
    return None if sealed is None else vault.unseal(deps.settings, sealed)


def _secrets(deps: "Deps", row: Gateway) -> list[str]:
    try:
        return [text for text in (_open(deps, row.token), _open(deps, row.device_token)) if text]
    except OrchestratorError:
        return []  # what does not open was not sent, so that no reason holds it


def _about(row: Gateway) -> dict[str, str]:
    return {"gateway_id": row.id, "name": row.name}
