"""Where a container's step stands, and how it is moved from there."""

from dataclasses import dataclass
from typing import Any

from models.moves import AttemptChange, Move, Target
from models.queries import overrides, steps
from models.queries.branches import ContainerRow
from models.states import StepStatus
from orchestrator.core.branching import Counters
from orchestrator.core.outcome import StepError
from orchestrator.core.plan import PlanNode
from orchestrator.services.advancing import Advancing
from orchestrator.services.overrides import effective


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a container's attempt keeps of its input; JSON as text."""

    resolved: str | None = None
    input_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standpoint:
    """Where a container's step stands: ready in this transaction, claimed by a worker, or waiting."""

    node: PlanNode
    path: str
    status: StepStatus
    attempt: int
    tries: int
    live_in: str | None

    def move(self, to: StepStatus, event: str, more: dict[str, Any], **changes: Any) -> Move:
        """A move of the step out of where it stands; one that is ready begins its attempt with it."""
        begins = self.status is StepStatus.PENDING
        return Move(
            no=self.node.no,
            fence=self.attempt,
            sources=(self.status,),
            to=to,
            event=event,
            more=more,
            bump=int(begins),
            **changes,
        )


def ready(advance: Advancing, target: Target) -> Standpoint:
    """A container that has just become ready."""
    return Standpoint(
        node=effective(
            advance.info,
            advance.plan.at(target.no),
            overrides.of(advance.session, advance.info.id, target.no),
        ),
        path=target.path,
        status=StepStatus.PENDING,
        attempt=target.attempt,
        tries=0,
        live_in=target.live_in,
    )


def standing(advance: Advancing, no: int) -> Standpoint:
    """A container as its row says."""
    (row,) = steps.hot(advance.session, advance.info.id, [no])
    return Standpoint(
        node=effective(advance.info, advance.plan.at(no), row.override),
        path=row.path,
        status=StepStatus(row.status),
        attempt=row.attempt,
        tries=row.tries,
        live_in=row.live_in,
    )


def steps_of(advance: Advancing, node: PlanNode, branch: int) -> list[int]:
    scope = node.no % len(advance.plan.nodes)
    return [advance.plan.step_of(branch, member.no) for member in advance.plan.members(scope)]


def counters(row: ContainerRow) -> Counters:
    return Counters(total=row.total, opened=row.opened, ended=row.ended, failed=row.failed)


def failure(error: StepError, step: str) -> dict[str, Any]:
    return {
        "code": error.code.value,
        "message": error.message,
        "step": step,
        "details": error.details,
        "transient": error.transient,
    }


def ending(at: Standpoint) -> AttemptChange:
    return AttemptChange.WHOLE if at.status is StepStatus.PENDING else AttemptChange.END
