"""Attempts for a gateway with a scripted model, and what came of them."""

import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.errors import ErrorCode
from orchestrator.bridge import Dispatch, Sent
from orchestrator.core.outcome import Failed, Succeeded
from orchestrator.ports import Task


def work(
    script: Mapping[str, Any] | None = None,
    *,
    agent: str = "main",
    session_key: str | None = None,
    seconds: float | None = 60.0,
    **changes: Any,
) -> Dispatch:
    """Attempt number 1 of a step that nobody has asked for yet; `script` as in tests.support.model."""
    run = uuid.uuid4().hex[:12]
    line = "Say what you got." if script is None else "@model " + json.dumps({"name": run, **script})
    request = Dispatch(
        sent=Sent(
            agent=agent,
            session_key=session_key or f"agent:{agent}:wf-{run}-step-a1",
            key=f"{run}:step:1",
        ),
        task=Task(title="Say it", description=line),
        input={"run": run},
        deadline=None if seconds is None else time.monotonic() + seconds,
        cancelled=threading.Event(),
        run_id=run,
        path="step",
        attempt=1,
    )
    return replace(request, **changes)


def name(request: Dispatch) -> str:
    """What only this attempt's prompt holds."""
    return request.run_id


def output(outcome: object) -> dict[str, Any]:
    assert isinstance(outcome, Succeeded), outcome
    assert isinstance(outcome.output, dict)
    return outcome.output


def error_code(outcome: object) -> ErrorCode:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.code
