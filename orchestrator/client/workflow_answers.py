"""What the API answers of workflows: definitions, versions, plans, problems."""

from typing import Any, Literal, NotRequired, TypedDict


class ProblemItem(TypedDict):
    """One mistake in what was sent: where (JSON pointer, 1-based YAML line), which, how to mend it."""

    pointer: str
    line: NotRequired[int]
    code: str
    message: str


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


class Difference(TypedDict):
    """What of a replayed run is not as it was; `path` null: the run itself."""

    path: str | None
    was: Any
    now: Any
    why: str


class Tested(TypedDict):
    """What came of a test of a workflow; of a replayed history `same` and `differences`."""

    status: str
    outputs: Any
    error: NotRequired[dict[str, Any] | None]
    waiting: NotRequired[list[str]]
    steps: NotRequired[list[dict[str, Any]]]
    events: NotRequired[list[dict[str, Any]]]
    unmocked: NotRequired[list[str]]
    elapsed_virtual_seconds: NotRequired[float]
    same: NotRequired[bool]
    differences: NotRequired[list[Difference]]
