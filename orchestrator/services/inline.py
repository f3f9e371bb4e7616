"""Nodes that are evaluated within the transaction: noop, set, emit, condition, router, and every `when`."""

from dataclasses import dataclass, replace
from typing import Any

from models.base import dump_json
from models.errors import ErrorCode, OrchestratorError
from models.moves import AttemptChange, AttemptResult, Decision, ExtraEvent, Move, Target
from models.queries.runs import RunInfo
from models.queries.steps import Stored
from models.states import StepStatus
from orchestrator.core import conditions, decide, values
from orchestrator.core.nodetype import FieldKind
from orchestrator.core.outcome import Failed, StepError, Succeeded
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.ports import StepContext
from orchestrator.services import asking, data
from orchestrator.services.data import INPUTS, Names
from orchestrator.services.deps import Deps


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlined:
    """What came of an inline node: its move, its edges, its variables."""

    move: Move
    decisions: tuple[Decision, ...]
    variables: dict[str, Any]
    extras: tuple[ExtraEvent, ...] = ()
    error: StepError | None = None


def holds(expression: str, names: Names) -> bool:
    """A condition's value. Raises OrchestratorError when it can't be evaluated or is no boolean."""
    found = conditions.evaluate(expression, names)
    if not isinstance(found, bool):
        raise conditions.ConditionError(
            f"the condition {expression!r} gave {type(found).__name__}, not true or false"
        )
    return found


def edge_values(node: PlanNode, names: Names) -> list[bool | None]:
    """The value of each out-edge's `when`."""
    return [None if edge.when is None else holds(edge.when, names) for edge in node.out]


def failed(plan: Plan, node: PlanNode, attempt: int, error: StepError) -> Inlined:
    """An inline node that failed; it has no retries, for it would fail again."""
    digits = decide.edges_on_failure(node)
    move = Move(
        no=node.no,
        fence=attempt,
        sources=(StepStatus.PENDING,),
        to=StepStatus.FAILED,
        event="step.failed",
        more={"error": error.to_json(), "edges": digits},
        bump=1,
        tries=1,
        out_edges=digits,
        change=AttemptChange.WHOLE,
        result=AttemptResult(status="failed", error=dump_json(error.to_json())),
    )
    return Inlined(
        move=move,
        decisions=decide.decisions(plan, node, digits),
        variables={},
        error=error,
    )


def evaluate(deps: Deps, node: PlanNode, plan: Plan, names: Names, target: Target, info: RunInfo) -> Inlined:
    """Evaluate a ready inline node; never raises for what the definition or the data hold."""
    try:
        return _evaluate(deps, node, plan, names, target, info)
    except OrchestratorError as error:
        shown = asking.terms(deps, names.secrets()).shown(asking.step_error(error))
        return failed(plan, node, target.attempt, shown)


def _evaluate(deps: Deps, node: PlanNode, plan: Plan, names: Names, target: Target, info: RunInfo) -> Inlined:
    undoes = node.undoes is not None
    sources = [] if undoes else names.live_sources(node, target.live_in)
    stored = names.without_env()
    resolved = None if node.input_mapping is None else values.resolve(dict(node.input_mapping), stored)
    given: dict[str, Any] = {}
    # What a branch is given is in no other step's output, so that its entries can't pass on a reference.
    # Nor does a compensation: its owner may have another attempt by now.
    passes = node.passes and resolved is None and not undoes and not (plan.branch(node.no) and not node.ins)
    if not passes:
        given = names.chained(node, target.live_in) | (resolved or {})
    outcome = asking.ask(deps, _context(deps, node, names, target, info, given), names.secrets())
    if isinstance(outcome, Failed):
        return failed(plan, node, target.attempt, outcome.error)
    if not isinstance(outcome, Succeeded):
        raise conditions.ConditionError(f"node {node.id!r} of type {node.type} cannot wait: it is inline")
    passed = passed_on(names, sources) if passes else None
    output = given if node.passes else outcome.output
    text = None if passed is not None else dump_json(output)
    if not node.passes and text is not None and (wrong := _too_large(deps, node, text)) is not None:
        return failed(plan, node, target.attempt, wrong)
    _know_itself(node, names, output, passed)
    digits = decide.edges_on_success(
        node, route=outcome.route, terminal=outcome.terminal, holds=edge_values(node, stored)
    )
    more = {"edges": digits} | ({} if outcome.route is None else {"route": outcome.route})
    move = Move(
        no=node.no,
        fence=target.attempt,
        sources=(StepStatus.PENDING,),
        to=StepStatus.SUCCESS,
        event="step.completed",
        more=more,
        bump=1,
        tries=1,
        losses=0,
        route=outcome.route,
        out_edges=digits,
        change=AttemptChange.WHOLE,
        result=AttemptResult(
            status="success",
            output=text,
            passed=None if passed is None else ",".join(map(str, passed)),
            resolved=None if resolved is None else dump_json(resolved),
            input_digest=None if passes else data.digest(given),
        ),
    )
    return Inlined(
        move=move,
        decisions=decide.decisions(plan, node, digits),
        variables=outcome.variables,
        extras=extra_events(target.path, outcome),
    )


def _too_large(deps: Deps, node: PlanNode, text: str) -> StepError | None:
    """Why an output that an inline node makes itself is not kept; it is never truncated, its event neither."""
    size, limit = len(text.encode()), node.max_output_bytes or deps.settings.max_output_bytes
    if size <= limit:
        return None
    message = f"the output has {size} bytes, the limit is {limit}; raise max_output_bytes, or make it smaller"
    return StepError.of(ErrorCode.OUTPUT_TOO_LARGE, message)


def extra_events(path: str, outcome: Succeeded) -> tuple[ExtraEvent, ...]:
    """An event for each variable that a step set, and those that it published."""
    set_ = (
        ExtraEvent(type="variable.set", step=path, data={"key": key, "value": value})
        for key, value in outcome.variables.items()
    )
    return (*set_, *(ExtraEvent(type=own.type, step=path, data=own.data) for own in outcome.emits))


def _know_itself(node: PlanNode, names: Names, output: Any, passed: list[int] | None) -> None:
    names.know(
        node.no,
        Stored(
            no=node.no,
            status=StepStatus.SUCCESS,
            attempt=1,
            out_edges=None,
            output=output,
            passed=None if passed is None else tuple(passed),
        ),
    )


def passed_on(names: Names, sources: list[int]) -> list[int]:
    """The steps whose outputs, merged in order, pass through; references of references are followed."""
    found: list[int] = []
    for no in sources:
        row = None if no == INPUTS else names.row(no)
        if row is not None and row.status == StepStatus.FAILED:
            continue
        found += [no] if row is None or row.passed is None else row.passed
    return found


def as_claimed(move: Move, attempt: int) -> Move:
    """The same move for an inline node that travelled as a message and was claimed."""
    return replace(move, sources=(StepStatus.RUNNING,), fence=attempt, bump=0, change=AttemptChange.END)


def as_target(no: int, path: str, attempt: int, queue: str, live_in: str | None) -> Target:
    """A claimed inline node as the target of a decision that it once was."""
    return Target(
        no=no, path=path, attempt=attempt, queue=queue, in_chord=False, verdict="inline", live_in=live_in
    )


def own_fields(deps: Deps, node: PlanNode, names: Names) -> dict[str, Any]:
    """A node's own fields with {{ }} resolved; expressions are left to the handler."""
    kinds = {field.name: field.kind for field in deps.types[node.type].fields}
    return {
        name: value if kinds.get(name) in _AS_WRITTEN else values.resolve(value, names)
        for name, value in node.fields.items()
    }


_AS_WRITTEN = (FieldKind.EXPRESSION, FieldKind.CASES, FieldKind.JSONATA, FieldKind.SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contained:
    """A container that travelled as a message and was claimed: it is opened in the transaction that follows."""


def _context(
    deps: Deps, node: PlanNode, names: Names, target: Target, info: RunInfo, given: dict[str, Any]
) -> StepContext:
    """An inline node's context; its templates see no environment."""
    return StepContext(
        run_id=info.id,
        workspace_id=info.workspace_id,
        workflow=info.workflow,
        path=target.path,
        node_id=node.id,
        type=node.type,
        attempt=target.attempt + 1,
        input=given,
        fields=own_fields(deps, node, names),
        idempotency_key=f"{info.id}:{target.path}",
        evaluate=lambda expression: conditions.evaluate(expression, names),
    )
