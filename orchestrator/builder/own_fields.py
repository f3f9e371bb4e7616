"""The own fields of each node type beside those that all share. Source: spec "definition", Node types."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

from orchestrator.builder.fields import Common, Duration, Text


class Task(TypedDict, total=False):
    """What an agent is asked to do."""

    title: Text
    description: Text
    priority: Text
    tags: Sequence[Text] | Text


class AgentFields(Common, total=False):
    """`agent` by name, or any of a `role` with all `capabilities`.

    `session`: "attempt" (a fresh one each), "run", or a name kept across steps.
    """

    agent: Text
    role: Text
    capabilities: Sequence[Text]
    task: Task
    session: Text


class Expect(TypedDict):
    """The statuses that count as success."""

    status: int | Text | Sequence[int | Text]


class HttpFields(Common, total=False):
    """`json` or `body`, not both."""

    url: Required[Text]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    headers: Mapping[str, Any]
    query: Mapping[str, Any]
    json: Any
    body: Text
    expect: Expect


class TransformFields(Common, total=False):
    """`expression`: JSONata over the step's input."""

    expression: Required[str]


class SetFields(Common, total=False):
    """`values`: the variables to write."""

    values: Required[Mapping[str, Any]]


class EmitFields(Common, total=False):
    """`event`: a name of your own, such as `deal.signed`. `data`: by default the step's input."""

    event: Required[str]
    data: Any


class ConditionFields(Common, total=False):
    """`expression`: CEL, no braces."""

    expression: Required[str]


class Case(TypedDict):
    """A route, and the CEL that must hold for it."""

    route: str
    when: str


class RouterFields(Common, total=False):
    """`cases` are tried in order; `default`: the route when none holds."""

    cases: Required[Sequence[Case]]
    default: str


class LoopFields(Common, total=False):
    """`count` of a for, `items` of a for_each, `condition` (CEL) of a while and do_while."""

    mode: Required[Literal["for", "for_each", "while", "do_while"]]
    count: int | Text
    items: Sequence[Any] | Text
    condition: str
    max_iterations: int
    collect: Any


class ParallelFields(Common, total=False):
    """`count` branches, or one for each of `items`. `tolerate_failures`: 5, or "10%"."""

    count: int | Text
    items: Sequence[Any] | Text
    max_concurrency: int
    collect: Any
    on_error: Literal["fail_fast", "collect"]
    tolerate_failures: int | str


class SubworkflowFields(Common, total=False):
    """`version`: the latest when left out. `inputs`: those of the child run."""

    workflow: Required[str]
    version: int
    inputs: Mapping[str, Any]
    wait: bool


class CeleryFields(Common, total=False):
    """`task`: the name of any task; `queue`, which all nodes take, is the one its workers read."""

    task: Required[str]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class WaitFields(Common, total=False):
    """One of them. `until`: RFC 3339 with its offset, or seconds since 1970."""

    duration: Duration | Text
    until: Text | float


class ApprovalFields(Common, total=False):
    """`form`: JSON Schema of the data. `required`: votes for it that are needed."""

    title: Text
    form: Mapping[str, Any] | bool
    assignees: Sequence[Text] | Text
    required: int
    expires: Duration | Text
    on_expiry: Literal["reject", "approve", "fail"]


class SignalFields(Common, total=False):
    """`key`: by which a sender that knows no run finds it. `schema`: JSON Schema of the data."""

    signal: Required[Text]
    key: Text | int
    schema: Mapping[str, Any] | bool
    expires: Duration | Text


class PauseFields(Common, total=False):
    """`expected_input`: JSON Schema of what the run is resumed with."""

    reason: Text
    expected_input: Mapping[str, Any] | bool
