"""What the API answers, as typed dictionaries: the JSON as it came, so that nothing a newer API adds is lost.

Times are RFC 3339 text in UTC, costs micro-cents. A test compares every shape with the API's own description.
"""

from typing import Any, Literal, NotRequired, TypedDict

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


class ProblemItem(TypedDict):
    """One mistake in what was sent: where (JSON pointer, 1-based YAML line), which, how to mend it."""

    pointer: str
    line: NotRequired[int]
    code: str
    message: str


# `class` is a word of Python
Classification = TypedDict(
    "Classification", {"class": Literal["short", "medium", "long"], "reasons": list[str]}
)


class Validation(TypedDict):
    """Whether a definition is valid; without an estimate where it is not."""

    valid: bool
    errors: list[ProblemItem]
    classification: Classification | None
    estimated_cost_cents: int | None
    estimate_is_lower_bound: bool | None


class Written(TypedDict):
    """What a write of a definition made."""

    id: str
    name: str
    version: int
    classification: Classification
    estimated_cost_cents: int
    estimate_is_lower_bound: bool


class WorkflowSummary(Written):
    """A workflow in a list; `digest` is of its current definition."""

    digest: str
    created_at: str
    updated_at: str
    archived_at: str | None


class Workflow(WorkflowSummary):
    """A workflow with its current definition."""

    definition: dict[str, Any]


class VersionSummary(TypedDict):
    """A version in a list."""

    version: int
    digest: str
    classification: Classification
    estimated_cost_cents: int
    estimate_is_lower_bound: bool
    created_at: str
    created_by: str | None


class Version(VersionSummary):
    """A version with its definition."""

    definition: dict[str, Any]


# `from` is a word of Python
Change = TypedDict("Change", {"pointer": str, "from": Any, "to": Any})


class Diff(TypedDict):
    """What differs between two versions."""

    added: list[Any]
    removed: list[Any]
    changed: list[Change]


class Plan(TypedDict):
    """The execution plan: nodes by id, and by level."""

    nodes: dict[str, Any]
    start_nodes: list[str]
    levels: list[list[str]]


class RunError(TypedDict):
    """Why a run failed, and at which step."""

    code: str
    message: str
    step: str | None


class StepError(TypedDict):
    """Why a step or an attempt failed."""

    code: str
    message: str
    transient: NotRequired[bool]
    details: Any


class Tokens(TypedDict):
    input: int
    output: int


class RunSummary(TypedDict):
    """A run in a list."""

    id: str
    workflow: str
    version: int
    status: RunStatus
    error: RunError | None
    cost_microcents: int
    labels: dict[str, str]
    parent_run_id: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class Step(TypedDict):
    """A step; `input` is None until its first attempt, `called_run_id` is there where it calls runs."""

    path: str
    node: str
    type: str
    status: StepStatus
    attempts: int
    route: str | None
    input: Any
    output: Any
    error: StepError | None
    agent: str | None
    model: str | None
    tokens: Tokens | None
    cost_microcents: int
    waiting_for: str | None
    called_run_id: NotRequired[str | None]
    created_at: str
    started_at: str | None
    finished_at: str | None


class Attempt(TypedDict):
    """One try at a step."""

    attempt: int
    status: str
    error: StepError | None
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


class Run(RunSummary):
    """A run, whole; `outputs` is None until it has succeeded, `steps` are there where they were asked for."""

    inputs: Any
    outputs: Any
    variables: dict[str, Any]
    step_counts: dict[str, int]
    steps: NotRequired[list[Step]]
    steps_next_cursor: NotRequired[str | None]


class Event(TypedDict):
    """One entry of a run's log."""

    seq: int
    type: str
    run_id: str
    step: NotRequired[str]
    at: str
    actor: NotRequired[str]
    data: dict[str, Any]


class Key(TypedDict):
    """A key without its text."""

    id: str
    name: str
    scopes: list[str]
    workspace: str
    created_at: str
    revoked_at: str | None


class NewKey(Key):
    """A key with its text, which is shown this once."""

    key: str


class Workspace(TypedDict):
    id: str
    name: str
    created_at: str


class Readiness(TypedDict):
    """Whether work is taken, and what is not there."""

    status: Literal["ready", "degraded", "unavailable"]
    missing: list[Literal["database", "broker", "workers", "beat"]]
