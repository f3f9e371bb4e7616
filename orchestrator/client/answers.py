"""What the API answers, as typed dictionaries: the JSON as it came, so that nothing a newer API adds is lost.

Times are RFC 3339 text in UTC, costs micro-cents. A test compares every shape with the API's own description.
"""

from typing import Any, Literal, NotRequired, TypedDict

from orchestrator.client.workflow_answers import Diff, RunError

RunStatus = Literal[
    "pending", "running", "paused", "success", "failed", "aborted", "compensating", "compensated"
]


StepStatus = Literal[
    "pending",
    "queued",
    "running",
    "waiting",
    "retrying",
    "success",
    "failed",
    "skipped",
    "aborted",
    "compensating",
    "compensated",
]


ApprovalStatus = Literal["pending", "approved", "rejected", "expired", "closed"]


Verdict = Literal["approved", "rejected"]


class StepError(TypedDict):
    """Why a step or an attempt failed."""

    code: str
    message: str
    transient: NotRequired[bool]
    details: Any


class Tokens(TypedDict):
    input: int
    output: int


BulkAction = Literal["abort", "retry", "pause", "resume"]


class BulkError(TypedDict):
    """Why an act on a run was refused."""

    code: str
    message: str


class BulkItem(TypedDict):
    """What became of one run of a bulk act."""

    id: str
    status: RunStatus
    done: bool
    error: BulkError | None


class BulkItems(TypedDict):
    """What became of the runs of a bulk act, and where the next call goes on."""

    items: list[BulkItem]
    next_cursor: str | None


class RunSummary(TypedDict):
    """A run in a list."""

    id: str
    workflow: str
    version: int
    status: RunStatus
    error: RunError | None
    degraded: bool
    cost_microcents: int
    labels: dict[str, str]
    parent_run_id: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class StepCompensation(TypedDict):
    """How the undoing of a step stands; it is shown whole as the step `<path>:compensate`."""

    status: StepStatus
    attempts: int
    error: StepError | None
    started_at: str | None
    finished_at: str | None


class CompensationFailure(TypedDict):
    """The step that could not be undone, and why."""

    step: str
    code: str
    message: str


class RunCompensation(TypedDict):
    """What of a run was undone, what could not be, and what is left; 1,000 paths of each."""

    status: Literal["compensating", "compensated", "failed"]
    done: list[str]
    failed: CompensationFailure | None
    remaining: list[str]


class Step(TypedDict):
    """A step; `input` is None until its first attempt, `called_run_id` is there where it calls runs.

    `compensation` is there where it has one, None until that begins.
    """

    path: str
    node: str
    type: str
    status: StepStatus
    attempts: int
    route: str | None
    input: Any
    output: Any
    error: StepError | None
    degraded: bool
    agent: str | None
    model: str | None
    tokens: Tokens | None
    cost_microcents: int
    waiting_for: str | None
    called_run_id: NotRequired[str | None]
    compensation: NotRequired[StepCompensation | None]
    created_at: str
    started_at: str | None
    finished_at: str | None


class Attempt(TypedDict):
    """One try at a step."""

    attempt: int
    status: str
    error: StepError | None
    output: Any
    worker: str | None
    called_run_id: NotRequired[str | None]
    agent: str | None
    model: str | None
    tokens: Tokens | None
    cost_microcents: int
    started_at: str | None
    finished_at: str | None


class StepWithAttempts(Step):
    """A step and every try at it."""

    attempt_log: list[Attempt]


class ForkedFrom(TypedDict):
    """Where a run comes from: a position of another one."""

    run_id: str
    seq: int
    from_step: NotRequired[str]
    checkpoint: NotRequired[str]


class Run(RunSummary):
    """A run, whole; `outputs` is None until it has succeeded, `steps` are there where they were asked for."""

    forked_from: ForkedFrom | None

    inputs: Any
    outputs: Any
    variables: dict[str, Any]
    step_counts: dict[str, int]
    compensation: RunCompensation | None
    compensation_failed: bool
    steps: NotRequired[list[Step]]
    steps_next_cursor: NotRequired[str | None]


class Checkpoint(TypedDict):
    """A position of a run: its state after event `seq`. `automatic`: nobody named it."""

    name: str
    seq: int
    automatic: bool
    at: str
    actor: str | None
    reason: str | None


class Place(TypedDict):
    """A position as it was asked for, and by number."""

    name: str
    seq: int


class StandingStep(TypedDict):
    """A step at a position."""

    status: StepStatus
    attempt: int


ComparedOutput = TypedDict("ComparedOutput", {"from": Any, "to": Any})


ComparedStep = TypedDict(
    "ComparedStep",
    {
        "path": str,
        "from": StandingStep | None,
        "to": StandingStep | None,
        "output": NotRequired[ComparedOutput],
    },
)


Comparison = TypedDict(
    "Comparison", {"from": Place, "to": Place, "steps": list[ComparedStep], "variables": Diff}
)


class Event(TypedDict):
    """One entry of a run's log."""

    seq: int
    type: str
    run_id: str
    step: NotRequired[str]
    at: str
    actor: NotRequired[str]
    data: dict[str, Any]


class WorkspaceEvent(TypedDict):
    """An event of a run, or of none: then `seq` is None, and there is no `run_id`."""

    seq: int | None
    type: str
    run_id: NotRequired[str]
    step: NotRequired[str]
    at: str
    actor: NotRequired[str]
    data: dict[str, Any]


class ApprovalVote(TypedDict):
    """One vote on an approval."""

    by: str
    decision: Verdict
    comment: str | None
    data: Any
    at: str


class Approval(TypedDict):
    """What a step asks of people; `decision` is None while it is open, and where it expired undecided."""

    id: str
    run_id: str
    workflow: str
    step: str
    attempt: int
    title: str
    form: Any
    assignees: list[str]
    required: int
    on_expiry: Literal["reject", "approve", "fail"]
    status: ApprovalStatus
    decision: Verdict | None
    votes: list[ApprovalVote]
    requested_at: str
    expires_at: str | None
    decided_at: str | None


class ApprovalLink(TypedDict):
    """A link for one vote; its token is shown this once."""

    approval_id: str
    name: str
    expires_at: str | None
    token: str


class SignalReceipt(TypedDict):
    """What became of a signal; no run while it is kept for who will wait for it."""

    signal: str
    key: str
    id: str | None
    run_id: str | None
    step: str | None


Wait = TypedDict("Wait", {"from": str, "to": str | None, "reason": str | None})


class Span(TypedDict):
    """An attempt in time; `waits` are the spans in which it was parked."""

    path: str
    node: str
    type: str
    attempt: int
    status: str
    queued_at: str | None
    started_at: str | None
    finished_at: str | None
    waits: list[Wait]
    agent: str | None
    model: str | None
    tokens: Tokens | None
    cost_microcents: int


class CostTotal(TypedDict):
    """What attempts cost, all together."""

    cost_microcents: int
    tokens: Tokens
    attempts: int
    runs: int


class Cost(CostTotal):
    """What attempts cost that have the keys asked for in common; `day` is that of their start, in UTC."""

    workflow: NotRequired[str]
    node: NotRequired[str]
    agent: NotRequired[str | None]
    model: NotRequired[str | None]
    day: NotRequired[str]


class Price(TypedDict):
    """What a million tokens of a model cost; cached input as other input where it is None."""

    model: str
    input_cents_per_million: float
    output_cents_per_million: float
    cached_input_cents_per_million: float | None
    updated_at: str


class Key(TypedDict):
    """A key without its text; `agent_id` is the agent whose own key it is."""

    id: str
    name: str
    scopes: list[str]
    workspace: str
    created_at: str
    revoked_at: str | None
    expires_at: str | None
    agent_id: str | None


class NewKey(Key):
    """A key with its text, which is shown this once."""

    key: str


class Workspace(TypedDict):
    """`run_retention_days`: None as the installation's settings say."""

    id: str
    name: str
    run_retention_days: float | None
    created_at: str


class Readiness(TypedDict):
    """Whether work is taken, and what is not there."""

    status: Literal["ready", "degraded", "unavailable"]
    missing: list[Literal["database", "broker", "workers", "beat"]]
