"""Changing the variables of a run that goes on: steps that start after it see the new values."""

from typing import Any

from models.errors import ConflictError
from models.queries import runs
from models.states import RUN_TERMINAL
from orchestrator.services import audited, reopening
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once


def update(
    deps: Deps, actor: Actor, run_id: str, values: dict[str, Any], reason: str, once: Once | None = None
) -> None:
    """Set variables, whole keys, each with its event. Raises NotFoundError, ConflictError (the run has ended)."""
    guard = once or Once()
    with deps.db.transaction() as session:
        if guard.begin(session) is not None:
            return
        state, _ = reopening.lock(deps, session, actor, run_id)
        if state.status in RUN_TERMINAL:
            raise ConflictError(
                f"run {run_id} is {state.status}; only the variables of one that goes on can be changed: "
                "retry or rerun a step, which lets it go on, or start another run"
            )
        runs.set_variables(session, run_id, values)
        for key, value in values.items():
            told = {"key": key, "value": value, "reason": reason}
            runs.note(session, run_id, "variable.set", told, actor=actor.name)
        set_ = {f"variables.{key}": [value] for key, value in values.items()}
        audited.run(session, actor, "variables", run_id, state.status, reason, set_)
        guard.finish(session, {"id": run_id})
