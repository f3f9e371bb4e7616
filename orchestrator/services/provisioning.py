"""The workspace files of the agents that a run names: written before it works with any of them.

An outbox entry of the trigger's transaction, carried out on `control`; agent steps of the run wait until it is gone.
One carrier writes at a time, under a lease on the entry: a late one would write over what the agent wrote since.
Files are templates over {{inputs.…}}, {{run.id}}, {{workflow}}, {{agent.name}} and {{agent.role}}, resolved once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.orm import Session

from models.base import uuid7
from models.errors import ErrorCode, InvalidError, OrchestratorError
from models.queries import calls, outbox, routing, runs, steps, sweeps
from models.queries.outbox import Entry
from models.queries.runs import RunInfo
from models.states import RUN_TERMINAL, RunStatus
from orchestrator.bridge import Endpoint
from orchestrator.core import agent_keys, values
from orchestrator.core.effects import Effect, Message, Relay, Resume
from orchestrator.core.plan import Plan
from orchestrator.services import gateways, telling
from orchestrator.services.advance import Advance
from orchestrator.services.deps import Deps

_log = structlog.get_logger(__name__)
LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Home:
    """An agent's workspace at its gateway, and what is to be in it."""

    name: str
    there: str
    endpoint: Endpoint
    files: Mapping[str, str]


def wanted(session: Session, plan: Plan, info: RunInfo) -> tuple[Relay, ...]:
    """Note that files are to be written, where an agent has some that the plan names; in the trigger's transaction."""
    named = plan.agents
    if not named or not any(row["files"] for row in routing.homes(session, info.workspace_id, named)):
        return ()
    return (telling.provision(session, info.id),)


def carry_out(deps: Deps, entry: Entry) -> Sequence[Effect]:
    """Write the files; the run's agent steps go on then. What can't ever be written fails the run.

    Nothing is done while another carrier is at it; one that died is waited for LEASE_SECONDS.
    """
    holder = uuid7()
    if not _held(deps, entry, holder):
        return ()
    with deps.db.read() as session:
        over = calls.status(session, entry.run_id) in RUN_TERMINAL
    try:
        for home in [] if over else _homes(deps, entry.run_id):
            if not _held(deps, entry, holder):
                return ()
            _write(deps, home)
    except InvalidError as error:
        return _fail(deps, entry, holder, str(error))
    except OrchestratorError as error:
        _log.warning("files not written; they are tried again", run=entry.run_id, error=str(error))
        with deps.db.transaction() as session:
            outbox.let_go(session, entry.id, holder)
        return ()
    with deps.db.transaction() as session:
        if not _taken(session, entry, holder):
            return ()
        return [
            Resume(message=Message(run_id=entry.run_id, no=no, path=path, attempt=attempt, queue=queue))
            for no, path, attempt, queue in steps.waiting_for(session, entry.run_id, telling.UNWRITTEN)
        ]


def _held(deps: Deps, entry: Entry, holder: str) -> bool:
    with deps.db.transaction() as session:
        return _hold(session, entry, holder)


def _hold(session: Session, entry: Entry, holder: str) -> bool:
    now = sweeps.clock(session)
    return outbox.hold(session, entry.id, holder, now, now + LEASE_SECONDS)


def _taken(session: Session, entry: Entry, holder: str) -> bool:
    """Whether the entry is this carrier's to end: one whose lease went to another leaves it to that."""
    return _hold(session, entry, holder) and outbox.take(session, entry.id)


def _homes(deps: Deps, run_id: str) -> list[_Home]:
    """Raises InvalidError for a template without a value."""
    with deps.db.read() as session:
        info = runs.info(session, run_id)
        assert info is not None, f"files for run {run_id}, which is not there"
        plan = deps.plans.get(session, info.version_id)
        found = []
        for row in routing.homes(session, info.workspace_id, plan.agents):
            endpoint = gateways.endpoint(deps, session, row["gateway_id"])
            if endpoint is not None and row["files"]:
                found.append((row, endpoint))
    return [_home(info, row, endpoint) for row, endpoint in found]


def _home(info: RunInfo, row: Mapping[str, Any], endpoint: Endpoint) -> _Home:
    names = {
        "inputs": info.inputs,
        "run": {"id": info.id},
        "workflow": info.workflow,
        "agent": {"name": row["name"], "role": row["role"]},
    }
    files = {file: _resolved(row["name"], file, text, names) for file, text in row["files"].items()}
    there = agent_keys.agent_id(row["name"], row["session_key"])
    return _Home(name=row["name"], there=there, endpoint=endpoint, files=files)


def _resolved(agent: str, file: str, text: str, names: Mapping[str, Any]) -> str:
    try:
        found = values.resolve(text, names)
    except OrchestratorError as error:
        raise InvalidError(f"the file {file} of agent {agent} has no value: {error}") from error
    return found if isinstance(found, str) else str(values.resolve(f" {text}", names))[1:]


def _write(deps: Deps, home: _Home) -> None:
    driver = deps.gateways.get(home.endpoint.kind)
    if driver is None:
        raise InvalidError(
            f"the files of agent {home.name} can't be written: there is no driver for gateways of the kind "
            f"{home.endpoint.kind!r}, this worker has {', '.join(sorted(deps.gateways))}"
        )
    driver.provision(home.endpoint, home.there, home.files)


def _fail(deps: Deps, entry: Entry, holder: str, message: str) -> Sequence[Effect]:
    error = {"code": ErrorCode.VALIDATION.value, "message": message, "step": None, "details": None}
    with deps.db.transaction() as session:
        state = runs.lock(session, entry.run_id)
        if not _taken(session, entry, holder) or state is None:
            return ()
        info = runs.info(session, entry.run_id)
        if info is None or state.status in RUN_TERMINAL or state.stopping is not None:
            return ()
        plan = deps.plans.get(session, info.version_id)
        advance = Advance(deps=deps, session=session, plan=plan, info=info)
        advance.stop(RunStatus.FAILED, error)
        return list(advance.effects)
