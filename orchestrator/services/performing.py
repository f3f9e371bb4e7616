"""The body of a step: its input and fields, its handler, and what is accepted of the outcome.

No transaction is open while a handler works (spec "layout", the way of a run).
"""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from models.base import dump_json
from models.database import OUTAGES
from models.errors import ErrorCode, OrchestratorError
from models.queries import steps
from models.queries.steps import Stored
from orchestrator.core import conditions, decide, lanes, redact, values
from orchestrator.core.acceptance import PREVIEW_CHARACTERS
from orchestrator.core.outcome import Cancelled, Failed, Outcome, Paused, StepError, Succeeded, Waiting
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.ports import StepContext
from orchestrator.services import asking, beats, data, inline, pricing, rows
from orchestrator.services.claiming import Claimed
from orchestrator.services.data import Names
from orchestrator.services.deps import Deps

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """What came of a body. `dispatched`: the handler was called, so that it may have cost something."""

    outcome: Outcome
    digits: str = ""
    output: str | None = None
    resolved: str | None = None
    input_digest: str | None = None
    dispatched: bool = False


def perform(deps: Deps, claimed: Claimed) -> Performed:
    """Carry out a claimed attempt; whatever happens in it is an outcome, nothing is raised.

    An attempt whose data could not be read, since the database was away, is given back.
    """
    secrets = list(data.environment(deps.settings).values())
    try:
        names = names_of(deps, claimed)
        ctx, resolved = prepare(deps, claimed, names)
    except OUTAGES as error:
        _log.warning("step given back", run=claimed.info.id, step=claimed.path, reason=type(error).__name__)
        return Performed(outcome=Cancelled())
    except OrchestratorError as error:
        return _failed(deps, claimed, asking.step_error(error), secrets)
    except Exception as error:
        shown = redact.redact(traceback.format_exc(), secrets)
        _log.error("step not prepared", run=claimed.info.id, step=claimed.path, traceback=shown)
        return _failed(deps, claimed, _internal(error), secrets)
    kept = Performed(
        outcome=_priced(deps, claimed, _ask(deps, claimed, ctx, secrets)),
        resolved=None if resolved is None else dump_json(resolved),
        input_digest=data.digest(ctx.input),
        dispatched=True,
    )
    return _judged(deps, claimed, names, kept)


def taken(deps: Deps, claimed: Claimed, said: Succeeded | Failed) -> Performed:
    """What is taken of an outcome that came from outside for a parked attempt: as if its handler had said it.

    Raises OUTAGES, what the database raises.
    """
    names = names_of(deps, claimed)
    outcome = _priced(deps, claimed, asking.terms(deps, names.secrets()).accept(said))
    return _judged(deps, claimed, names, Performed(outcome=outcome, dispatched=True))


def judged(deps: Deps, claimed: Claimed, names: Names, given: Succeeded) -> Performed:
    """What is taken of an output that a person gives, within the caller's transaction: it has cost nothing."""
    outcome = asking.terms(deps, names.secrets()).accept(given)
    return _judged(deps, claimed, names, Performed(outcome=outcome, dispatched=True))


def _priced(deps: Deps, claimed: Claimed, outcome: Outcome) -> Outcome:
    """The outcome with what it cost by the price that holds, which an agent's output shows too."""
    if not isinstance(outcome, Succeeded | Failed) or outcome.usage is None:
        return outcome
    usage = pricing.priced(deps, claimed.info.workspace_id, outcome.usage)
    if isinstance(outcome, Succeeded) and claimed.node.type == "agent":
        outcome = replace(outcome, output=_with_cost(outcome.output, usage.cost_microcents))
    return replace(outcome, usage=usage)


def _with_cost(output: Any, microcents: int | None) -> Any:
    if not isinstance(output, dict) or not isinstance(output.get("usage"), dict):
        return output
    return {**output, "usage": {**output["usage"], "cost_microcents": microcents}}


def _judged(deps: Deps, claimed: Claimed, names: Names, done: Performed) -> Performed:
    match done.outcome:
        case Succeeded() as outcome:
            return _accept_output(deps, claimed, names, done, outcome)
        case Failed():
            return replace(done, digits=decide.edges_on_failure(claimed.node))
        case Waiting(call=call) if call is not None and not claimed.node.calls:
            message = (
                f"the type {claimed.node.type} calls a run and does not say so; declare it with calls=True"
            )
            return _refused(done, claimed, ErrorCode.INTERNAL, message)
        case Paused() if claimed.node.undoes is not None:
            message = f"a {claimed.node.type} that pauses the run cannot compensate; take another type"
            return _refused(done, claimed, ErrorCode.VALIDATION, message)
        case Waiting() | Paused() | Cancelled():
            return done


def names_of(deps: Deps, claimed: Claimed) -> Names:
    """A step's names, read outside of any transaction; what its body needs is loaded at once."""
    names = Names(
        claimed.plan,
        claimed.info,
        rows.glanced(deps.db, claimed.info.id),
        data.environment(deps.settings),
        branch=claimed.plan.branch(claimed.no),
        back=claimed.node.back,
    )
    for row in claimed.known:
        names.know(row.no, row)
    names.know_undone(claimed.node, claimed.live_in)
    names.prefetch(_needs(names, claimed.plan, claimed.node))
    return names


def _needs(names: Names, plan: Plan, node: PlanNode) -> Sequence[int]:
    """The steps whose rows a step's body reads, but for those that their outputs are passed on from."""
    if not plan.branch(node.no):
        return plan.needs(node)
    sources = [edge.source for edge in node.ins] if node.need is None else []
    return [*sources, *(no for no in names.steps_of({*node.refs, *node.edge_refs}) if no != node.no)]


def read_ahead(deps: Deps, many: Sequence[Claimed], known: Mapping[int, Stored]) -> list[Claimed]:
    """Steps of one run, none of them in a branch, each with the rows that its body needs, in one read.

    `known`: rows of the run that are at hand. Raises OUTAGES.
    """
    plan, info = many[0].plan, many[0].info
    names = Names(plan, info, rows.glanced(deps.db, info.id))
    needs = [plan.needs(claimed.node) for claimed in many]
    needed = {no for wanted in needs for no in wanted}
    for row in (*(known[no] for no in needed if no in known), *(row for claimed in many for row in claimed.known)):
        names.know(row.no, row)
    names.prefetch(needed)
    return [
        replace(claimed, known=tuple(found for no in wanted if (found := names.found(no)) is not None))
        for claimed, wanted in zip(many, needs, strict=True)
    ]


def prepare(deps: Deps, claimed: Claimed, names: Names) -> tuple[StepContext, dict[str, Any] | None]:
    """A handler's context and the resolved `input_mapping`. Raises OrchestratorError for what can't resolve."""
    node = claimed.node
    resolved = None
    if node.rate is not None:
        values.resolve(node.rate["key"], names.without_env())  # one that has no value fails the step
    if node.input_mapping is not None:
        resolved = values.resolve(dict(node.input_mapping), names.without_env())
    given = names.chained(node, claimed.live_in) | (resolved or {})
    ctx = StepContext(
        run_id=claimed.info.id,
        workspace_id=claimed.info.workspace_id,
        workflow=claimed.info.workflow,
        path=claimed.path,
        node_id=node.id,
        type=node.type,
        attempt=claimed.attempt,
        input=given,
        fields=inline.own_fields(deps, node, names),
        idempotency_key=_idempotency_key(deps, claimed, names),
        evaluate=lambda expression: conditions.evaluate(expression, names),
        deadline=claimed.deadline,
        cancelled=claimed.given_up,
        lost=_lost(deps, claimed),
        beat=beats.of(deps, claimed),
        no=claimed.no,
        rank=lanes.rank(node.priority, claimed.info.priority),
    )
    return ctx, resolved


def _lost(deps: Deps, claimed: Claimed) -> tuple[int, ...]:
    """Earlier attempts whose worker was lost: their work may go on elsewhere, or be done."""
    if claimed.losses == 0:
        return ()
    with deps.db.read() as session:
        return steps.lost_attempts(session, claimed.info.id, claimed.no)


def _idempotency_key(deps: Deps, claimed: Claimed, names: Names) -> str:
    given, own = claimed.idempotency_key, claimed.node.idempotency_key
    if own is None:
        return given or claimed.default_key
    _, rerun, nth = (given or "").partition(f"{claimed.default_key}:r")  # done anew, and not resolved since
    if given is not None and not rerun:
        return given
    key = values.resolve(own, names.without_env())
    text = key if isinstance(key, str) else dump_json(key)
    if claimed.plan.branch(claimed.no):
        text = f"{text}:{claimed.path}"
    if rerun:
        text = f"{text}:r{nth}"
    with deps.db.transaction() as session:
        return steps.set_idempotency_key(session, claimed.info.id, claimed.no, text, given)


def _ask(deps: Deps, claimed: Claimed, ctx: StepContext, secrets: list[str]) -> Outcome:
    try:
        outcome = asking.ask(deps, ctx, secrets)
    except OUTAGES as error:
        return asking.terms(deps, secrets).accept(Failed(error=_internal(error)))
    if isinstance(outcome, Cancelled) and not claimed.given_up.is_set():
        message = "the handler gave the attempt up, which nobody had asked for"
        return Failed(error=StepError.of(ErrorCode.CANCELLED, message))
    return outcome


def _internal(error: Exception) -> StepError:
    return StepError.of(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}")


def _accept_output(
    deps: Deps, claimed: Claimed, names: Names, done: Performed, outcome: Succeeded
) -> Performed:
    node, output = claimed.node, outcome.output
    text = dump_json(output)
    size, limit = len(text.encode()), node.max_output_bytes or deps.settings.max_output_bytes
    if size > limit:
        if node.on_large_output != "truncate":
            return _refused(
                done,
                claimed,
                ErrorCode.OUTPUT_TOO_LARGE,
                f"the output has {size} bytes, the limit is {limit}; raise max_output_bytes, "
                "or set on_large_output: truncate",
            )
        output = {"truncated": True, "preview": text[:PREVIEW_CHARACTERS], "bytes": size}
        text = dump_json(output)
    names.know(node.no, _stored(claimed, output))
    try:
        holds = inline.edge_values(node, names.without_env())
    except OrchestratorError as error:
        refused = asking.step_error(error)
        return _refused(done, claimed, refused.code, refused.message)
    return replace(
        done,
        outcome=replace(outcome, output=output),
        output=text,
        digits=decide.edges_on_success(node, route=outcome.route, terminal=outcome.terminal, holds=holds),
    )


def _stored(claimed: Claimed, output: Any) -> steps.Stored:
    return steps.Stored(
        no=claimed.no, status="success", attempt=claimed.attempt, out_edges=None, output=output
    )


def _refused(done: Performed, claimed: Claimed, code: ErrorCode, message: str) -> Performed:
    usage = done.outcome.usage if isinstance(done.outcome, Succeeded) else None
    return replace(
        done,
        outcome=Failed(error=StepError.of(code, message, transient=False), usage=usage),
        digits=decide.edges_on_failure(claimed.node),
    )


def _failed(deps: Deps, claimed: Claimed, error: StepError, secrets: list[str]) -> Performed:
    shown = asking.terms(deps, secrets).shown(error)
    return Performed(outcome=Failed(error=shown), digits=decide.edges_on_failure(claimed.node))


def failed_to_store(claimed: Claimed, error: Exception) -> Performed:
    """What becomes of an attempt whose outcome the database would not have."""
    message = f"what came of the step could not be stored ({type(error).__name__}); the log has more"
    return Performed(
        outcome=Failed(error=StepError.of(ErrorCode.INTERNAL, message)),
        digits=decide.edges_on_failure(claimed.node),
        dispatched=True,
    )
