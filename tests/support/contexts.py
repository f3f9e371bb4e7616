"""A step's context without an engine round it."""

from collections.abc import Mapping
from typing import Any

from orchestrator.core import conditions
from orchestrator.ports import StepContext


def context(
    fields: Mapping[str, Any],
    *,
    type: str = "noop",
    input: Any = None,
    names: Mapping[str, Any] | None = None,
    deadline: float | None = None,
) -> StepContext:
    """The context of the first attempt of node `step` in a run; `names` are what its expressions see."""
    given = {"inputs": {}, "run": {"id": "run"}} if names is None else names
    return StepContext(
        run_id="018f0000-0000-7000-8000-000000000001",
        workspace_id="018f0000-0000-7000-8000-000000000002",
        workflow="test",
        path="step",
        node_id="step",
        type=type,
        attempt=1,
        input={} if input is None else input,
        fields=fields,
        idempotency_key="018f0000-0000-7000-8000-000000000001:step",
        evaluate=lambda expression: conditions.evaluate(expression, given),
        deadline=deadline,
    )
