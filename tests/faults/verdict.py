"""What a schedule is judged by. Source: spec "reliability" §6, To pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.states import RUN_TERMINAL
from orchestrator.client import Client
from orchestrator.services import fsck
from orchestrator.services.deps import Deps
from tests.faults.books import Books
from tests.faults.plan import LEASE_SECONDS
from tests.faults.recovery import Interrupted
from tests.faults.workload import Job
from tests.faults.wounds import Wound

REPEATED = 0.03  # of all steps
BACK_SECONDS = LEASE_SECONDS + 5.0
END_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that must not be; `kind` is what it counts for."""

    kind: str
    run_id: str | None
    message: str


def unhealed(wounds: Sequence[Wound]) -> Iterator[Finding]:
    for wound in wounds:
        if wound.healed_at is None:
            yield Finding(kind="not healed", run_id=None, message=f"{wound.target} after: {wound.kind}")


def lost(books: Books, jobs: Sequence[Job], accepted: Mapping[int, str]) -> Iterator[Finding]:
    """Accepted runs that nobody knows, and triggers that made two runs."""
    for job in jobs:
        found, run_id = books.jobs.get(job.number, []), accepted.get(job.number)
        if run_id is None:
            yield Finding(kind="not accepted", run_id=None, message=f"job {job.number} was never answered")
        elif run_id not in found:
            yield Finding(kind="lost", run_id=run_id, message=f"job {job.number} is gone")
        if len(found) > 1:
            yield Finding(kind="doubled runs", run_id=run_id, message=f"job {job.number} is {found}")


def stuck(books: Books) -> Iterator[Finding]:
    for run in books.runs:
        if run.status not in RUN_TERMINAL:
            yield Finding(kind="stuck", run_id=run.id, message=f"is {run.status} (stopping: {run.stopping})")


def broken(deps: Deps) -> Iterator[Finding]:
    for found in fsck.check_all(deps):
        message = f"invariant {found.invariant}: {found.step}: {found.message}"
        yield Finding(kind="violations", run_id=found.run_id, message=message)


def wrong(client: Client, books: Books, jobs: Sequence[Job], accepted: Mapping[int, str]) -> Iterator[Finding]:
    """Runs that ended otherwise than their definition says; those that poison ended are told apart."""
    for job in jobs:
        run_id = accepted.get(job.number)
        if run_id is None or _poisoned(books, run_id):
            continue
        run: Mapping[str, Any] = client.runs.get(run_id)
        error, expected = run["error"] or {}, job.expected
        if run["status"] != expected.status:
            message = f"{job.workflow} is {run['status']} ({error}), it had to be {expected.status}"
            yield Finding(kind="wrong ends", run_id=run_id, message=message)
        elif expected.error is not None and (error.get("code"), error.get("step")) != expected.error:
            yield Finding(kind="wrong ends", run_id=run_id, message=f"failed by {error}, not {expected.error}")
        elif expected.status == "success" and run["outputs"] != expected.outputs:
            message = f"{job.workflow} gave {run['outputs']}, it had to give {expected.outputs}"
            yield Finding(kind="wrong ends", run_id=run_id, message=message)


def doubled(effects: Mapping[str, Any], books: Books) -> Iterator[Finding]:
    for place, keys in effects["doubled"].items():
        yield Finding(kind="doubled effects", run_id=place.split("/")[0], message=f"{place} under {keys}")
    for key, places in effects["shared"].items():
        yield Finding(kind="doubled effects", run_id=key.split(":")[0], message=f"{key} at {places}")
    repeats = sum(effects["repeats"].values())
    if repeats >= REPEATED * books.steps:
        message = f"{repeats} of {books.steps} steps are above {REPEATED:.0%}"
        yield Finding(kind="too many repeats", run_id=None, message=message)


def late(returns: Sequence[Interrupted], seconds_to_end: float) -> Iterator[Finding]:
    for step in returns:
        if step.seconds > BACK_SECONDS:
            message = f"step {step.no} of attempt {step.attempt} came back after {step.seconds:.1f} s ({step.kind})"
            yield Finding(kind="late returns", run_id=step.run_id, message=message)
    if seconds_to_end > END_SECONDS:
        message = f"the last run ended {seconds_to_end:.0f} s after all was healed"
        yield Finding(kind="late ends", run_id=None, message=message)


def _poisoned(books: Books, run_id: str) -> bool:
    """Whether the run, or one that it called, failed with WORKER_LOST."""
    calls = {run.id: run.parent_run_id for run in books.runs}
    above: set[str | None] = set()
    for poisoned in books.poisoned:
        found: str | None = poisoned
        while found is not None:
            above.add(found)
            found = calls.get(found)
    return run_id in above
