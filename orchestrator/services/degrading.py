"""What a step succeeds with in the place of a failure for good: what it gave last, or a value of its definition.

Source: spec "definition", degrade. It comes after the last attempt and before the error port: the step has
succeeded, its failure is kept on the attempt. Within the transaction that would have failed the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from models.base import dump_json
from models.errors import ErrorCode, OrchestratorError
from models.moves import AttemptChange, AttemptResult, Decision, Move, Transition
from models.queries import degraded, runs, steps, sweeps
from models.queries.degraded import Earlier
from models.queries.steps import Stored
from models.states import STEP_MOVES, StepStatus
from orchestrator.core import decide, values
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import PlanNode
from orchestrator.services import container_ends, data, inline
from orchestrator.services.advancing import Advancing
from orchestrator.services.data import Names
from orchestrator.services.shapes import moment

_log = structlog.get_logger(__name__)
_OPEN = ("running", "paused")
# What was given up, and what people refused, is no outage that a value could stand in for.
_FINAL = frozenset({ErrorCode.CANCELLED, ErrorCode.REJECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An output to succeed with; `of`: the run that gave it, and when."""

    output: Any
    of: dict[str, Any] | None = None


def instead(
    advance: Advancing, node: PlanNode, move: Move, told: Sequence[Decision], error: StepError
) -> Transition | None:
    """The round in which a step succeeds instead of failing by `move`; None where its failure stands.

    A step that stands where it cannot succeed has failed by then, and succeeds out of that.
    """
    if not _applies(advance, node, error):
        return None
    names = data.names(advance.session, advance.plan, advance.info, no=node.no)
    try:
        found = _found(advance, node, names)
        if found is None:
            return None
        digits = _edges(node, move, names, found, error)
    except OrchestratorError as raised:
        _log.warning("not degraded", run=advance.info.id, node=node.id, reason=str(raised))
        return None
    off_chord = any(decision.chord is False for decision in told)
    return Transition(
        run_id=advance.info.id,
        moves=(_success(_possible(advance, move), digits, found, error),),
        decisions=decide.decisions(advance.plan, node, digits, off_chord=off_chord),
        while_=_OPEN,
    )


def _applies(advance: Advancing, node: PlanNode, error: StepError) -> bool:
    if node.degrade is None or error.code in _FINAL:
        return False
    state = runs.lock(advance.session, advance.info.id)
    return state is not None and state.stopping is None and not container_ends.is_closed(advance, node.no)


def _found(advance: Advancing, node: PlanNode, names: Names) -> _Found | None:
    assert node.degrade is not None
    if "value" in node.degrade:
        found: _Found | None = _Found(output=values.resolve(node.degrade["value"], names))
    else:
        found = _last_success(advance, node, node.degrade["max_age"])
    limit = container_ends.MAX_RESULT_BYTES if node.body is not None else advance.deps.settings.max_output_bytes
    if found is not None and len(dump_json(found.output).encode()) > (node.max_output_bytes or limit):
        _log.warning("not degraded", run=advance.info.id, node=node.id, reason="the output is too large")
        return None
    return found


def _last_success(advance: Advancing, node: PlanNode, max_age: float | None) -> _Found | None:
    session = advance.session
    last = _last(advance, node)
    if last is None:
        return None
    at, row = last
    if max_age is not None and sweeps.clock(session) - at.timestamp() > advance.deps.clock.real(max_age):
        return None
    info = runs.info(session, row.run_id)
    assert info is not None, f"run {row.run_id} was read, and is not there"
    plan = advance.deps.plans.get(session, row.version_id)
    output = data.names(session, plan, info, no=row.no).output(row.no)
    of = (row.error or {}).get("last_success") or {"run_id": row.run_id, "at": moment(at)}
    return _Found(output=output, of=of)


def _last(advance: Advancing, node: PlanNode) -> tuple[datetime, Earlier] | None:
    """The success of this step in the newest runs that was really given last, and when."""
    (own,) = steps.hot(advance.session, advance.info.id, [node.no])
    for found in degraded.successes(advance.session, advance.info.id, own.path):
        given = [(at, row) for row in found if (at := _given_at(row)) is not None]
        if given:
            return max(given, key=lambda pair: pair[0])
    return None


def _given_at(row: Earlier) -> datetime | None:
    """When the step really gave this; a degraded one passes on what was given before, or a value, which is none."""
    if row.error is None:
        return row.finished_at
    of = row.error.get("last_success")
    return None if of is None else datetime.fromisoformat(of["at"]).astimezone(UTC)


def _edges(node: PlanNode, move: Move, names: Names, found: _Found, error: StepError) -> str:
    row = Stored(
        no=node.no,
        status=StepStatus.SUCCESS,
        attempt=move.fence,
        out_edges=None,
        output=found.output,
        error=error.to_json(),
    )
    names.know(node.no, row)
    holds = inline.edge_values(node, names)
    return decide.edges_on_success(node, route=None, terminal=False, holds=holds)


def _possible(advance: Advancing, move: Move) -> Move:
    """The move out of a state in which a step can succeed; one that has no attempt under way fails first."""
    if all(StepStatus.SUCCESS in STEP_MOVES[source] for source in move.sources):
        return move
    advance.round(Transition(run_id=advance.info.id, moves=(move,), while_=_OPEN))
    return replace(
        move,
        fence=move.fence + move.bump,
        sources=(StepStatus.FAILED,),
        bump=1,
        tries=0,
        losses=None,
        change=AttemptChange.WHOLE,
        result=AttemptResult(status="failed"),
    )


def _success(move: Move, digits: str, found: _Found, error: StepError) -> Move:
    of = {} if found.of is None else {"last_success": found.of}
    told = {"code": error.code.value, "message": error.message}
    assert move.result is not None, "a step fails with its attempt"
    result = replace(
        move.result,
        status="success",
        output=dump_json(found.output),
        error=dump_json(error.to_json() | of),
    )
    return replace(
        move,
        to=StepStatus.SUCCESS,
        event="step.completed",
        more={"edges": digits, "degraded": True, "error": told} | of,
        out_edges=digits,
        result=result,
    )
