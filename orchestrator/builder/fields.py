"""Fields of workflows and the fields that all nodes share, as types. Source: spec "definition".

A field left out of a call is left out of the definition. What is wrong is told by `validate`, in the words of
the API; nothing here checks at run time. A test holds the names against those that the validation knows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

from orchestrator.builder.references import Reference

Text = str | Reference  # {{ }} in it is resolved at dispatch
Duration = str | int | float  # "250ms", "30s", "5m", "2h", "7d", or seconds
ErrorCode = Literal[
    "TIMEOUT",
    "NETWORK",
    "FILE_IO",
    "CREDIT_EXHAUSTED",
    "LLM_DOWN",
    "TOOL_FAILED",
    "VALIDATION",
    "POLICY_DENIED",
    "BUDGET_EXCEEDED",
    "AGENT_UNAVAILABLE",
    "WORKER_LOST",
    "UNRESOLVED_REFERENCE",
    "OUTPUT_TOO_LARGE",
    "CANCELLED",
    "REJECTED",
    "EXPIRED",
    "LOOP_LIMIT",
    "INTERNAL",
]


class Retry(TypedDict, total=False):
    """When a failed attempt is followed by another. `condition`: CEL over `error`."""

    max_attempts: int
    backoff: Literal["exponential", "linear", "constant"]
    initial: Duration
    multiplier: float
    max: Duration
    jitter: float
    retry_on: Sequence[ErrorCode]
    not_on: Sequence[ErrorCode]
    policy: Literal["always", "on_failure", "on_error", "on_transient_error", "never"]
    condition: str


class AtLeast(TypedDict):
    """A join that is met by so many live edges."""

    at_least: int


class Degrade(TypedDict, total=False):
    """What a step succeeds with after its last attempt failed: its last success, or `value`."""

    use: Literal["last_success"]
    max_age: Duration
    value: Any


class Rate(TypedDict):
    """So many attempts begin under the key in that time."""

    key: Text
    limit: int
    per: Duration


class Common(TypedDict, total=False):
    """What every node takes. `when`: CEL; `compensate`: `{type: none, reason}` or a node that undoes it."""

    name: str
    input_mapping: Mapping[str, Any]
    timeout: Duration
    total_timeout: Duration
    heartbeat: Duration
    retry: Retry
    error_port: bool
    fallback: str
    join: Literal["all", "any"] | AtLeast
    compensate: Mapping[str, Any]
    side_effects: Literal["none", "internal", "external"]
    systems: Sequence[str]
    idempotency_key: Text
    estimated_cost_cents: int
    retain_output: bool
    max_output_bytes: int
    on_large_output: Literal["fail", "truncate"]
    degrade: Degrade
    when: str
    queue: str
    priority: int
    pool: str
    slots: int
    rate: Rate


class Budget(TypedDict, total=False):
    """What a run may cost, in US cents."""

    limit_cents: Required[int]
    on_exceeded: Literal["abort", "pause"]


class Concurrency(TypedDict, total=False):
    """How many runs of one key go at once."""

    key: Required[Text]
    limit: Required[int]
    on_limit: Literal["queue", "reject", "cancel_oldest"]


class WorkflowFields(TypedDict, total=False):
    """What a workflow takes beside its name. `inputs`: JSON Schema; `retry`: the default of all nodes."""

    description: str
    inputs: Mapping[str, Any] | bool
    outputs: Mapping[str, Any]
    variables: Mapping[str, Any]
    duration: Literal["seconds", "minutes", "hours", "days", "weeks"]
    labels: Mapping[str, str]
    budget: Budget
    timeout: Duration
    queue_timeout: Duration
    on_failure: Literal["fail_fast", "continue"]
    concurrency: Concurrency
    retry: Retry
