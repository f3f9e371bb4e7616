"""What the API answers of agents, their work and their gateways."""

from typing import Any, Literal, NotRequired, TypedDict

AgentStatus = Literal["online", "idle", "busy", "failed", "stopped", "offline"]


class Registered(TypedDict):
    """An agent that enrolled; `api_key` is None where it was known."""

    agent_id: str
    api_key: str | None
    is_new: bool


class Rotated(TypedDict):
    """An agent's new key, and how long the others work."""

    agent_id: str
    api_key: str
    grace_until: str


class AgentSummary(TypedDict):
    """An agent in a list; `gateway` is its name, `load` the live steps that it works on."""

    id: str
    name: str
    role: str | None
    level: str | None
    status: AgentStatus
    session_key: str | None
    capabilities: list[str]
    workspace_path: str | None
    gateway: str | None
    max_concurrent: int | None
    rate_limit: int | None
    heartbeat: bool
    load: int
    queued_task_count: int
    heartbeat_at: str
    created_at: str
    updated_at: str


class Agent(AgentSummary):
    """An agent with its workspace files."""

    files: dict[str, str]


class WorkTask(TypedDict):
    title: str
    description: str
    priority: str | None
    tags: list[str]


class WorkStep(TypedDict):
    """The step that an agent has claimed."""

    run_id: str
    workflow: str
    path: str
    node: str
    attempt: int
    idempotency_key: str
    task: WorkTask


class Lease(TypedDict):
    """How long work stays the agent's without a word."""

    lease_until: str
    lease_seconds: int


class Work(Lease):
    """Claimed work; the lease is known by its token."""

    step: WorkStep
    input: dict[str, Any]
    lease_token: str


class EndedWork(TypedDict):
    """The step as the end of its work left it."""

    run_id: str
    path: str
    attempt: int
    status: str


class Gateway(TypedDict):
    """A gateway; its token is not shown."""

    id: str
    name: str
    kind: str
    url: str | None
    has_token: bool
    default: bool
    status: Literal["unknown", "healthy", "unhealthy"]
    error: str | None
    version: str | None
    checked_at: str | None
    created_at: str
    updated_at: str


class Pinged(TypedDict):
    """What a ping found this once; `agents` is None where the gateway lists none."""

    status: Literal["healthy", "unhealthy"]
    latency_ms: int | None
    version: str | None
    agents: list[str] | None
    error: NotRequired[str]
