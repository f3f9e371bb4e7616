"""The step that an operator acts on: found, its run locked, and opened again where it has ended."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from models.errors import ConflictError, NotFoundError
from models.queries import branches, resets, runs, steps
from models.queries.branches import BranchRow
from models.queries.runs import RunState
from models.queries.steps import Hot
from models.states import RUN_TERMINAL, StepStatus
from orchestrator.core import branching
from orchestrator.core.plan import PlanNode
from orchestrator.services import container_ends, container_steps, reopening, rewinding
from orchestrator.services.actors import Actor
from orchestrator.services.advance import Advance
from orchestrator.services.deps import Deps
from orchestrator.services.rewinding import Act, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A step of a run, and why. limit_cents: the run's new budget, where it is reopened."""

    run_id: str
    path: str
    reason: str = ""
    limit_cents: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A step under its run's lock."""

    wanted: Wanted
    state: RunState
    advance: Advance
    row: Hot
    scope: Scope

    @property
    def status(self) -> StepStatus:
        return StepStatus(self.row.status)

    @property
    def node(self) -> PlanNode:
        return self.advance.plan.at(self.row.no)

    def open_again(self, act: Act) -> None:
        """Let the run, or the branch, of an ended step go on. Raises ConflictError."""
        if self.scope.branch:
            self._open_branch()
        elif self.state.status in RUN_TERMINAL:
            told = act.told | {"step": self.row.path}
            reopening.reopen(self.advance, self.state, told, act.actor, self.wanted.limit_cents)

    def _open_branch(self) -> None:
        session, run_id = self.advance.session, self.advance.info.id
        branch = branches.get(session, run_id, self.scope.branch)
        (around,) = steps.hot(session, run_id, [branch.container])
        if around.status != StepStatus.WAITING:
            raise ConflictError(
                f"step {self.row.path} is in {around.path}, which is {around.status}; retry {around.path}, which "
                "goes on with the branches that failed, or rerun it"
            )
        closed = branch.container if branch.status in ("failed", "success") else self.row.no
        if container_ends.is_closed(self.advance, closed) or branch.status not in ("open", "failed", "success"):
            raise ConflictError(
                f"the branch of step {self.row.path} is being ended; wait, then retry {around.path}"
            )
        if branch.status != "open":
            self._take_up(branch, around)

    def _take_up(self, branch: BranchRow, around: Hot) -> None:
        """Open an ended branch of a parallel again."""
        session, run_id = self.advance.session, self.advance.info.id
        node = self.advance.plan.at(around.no)
        row = branches.container(session, run_id, around.no)
        assert row is not None
        counters = container_steps.counters(row)
        if branching.is_loop(node):
            raise ConflictError(
                f"iteration {branch.position} of {around.path} has ended, and others have followed; rerun the loop"
            )
        most = branching.most_at_once(node)
        if counters.opened - counters.ended >= most:
            raise ConflictError(
                f"branch {branch.position} of {around.path} has ended, and {most} others go on, which is its "
                "max_concurrency; try again when one has ended"
            )
        resets.keep_result(session, run_id, branch.number)
        branches.reopen(session, run_id, branch.number)
        branches.count(session, run_id, around.no, ended=-1, failed=-int(branch.status == "failed"))
        runs.note(session, run_id, "branch.reopened", {"position": branch.position}, step=around.path)


def reach(deps: Deps, session: Session, actor: Actor, wanted: Wanted) -> Reached:
    """Lock the run and find the step. Raises NotFoundError, ConflictError where no act on a step makes sense."""
    state, advance = reopening.lock(deps, session, actor, wanted.run_id)
    no = resets.number(session, advance.info.id, wanted.path)
    if no is None:
        raise NotFoundError(
            f"run {wanted.run_id} has no step {wanted.path!r}; GET /api/runs/{wanted.run_id}/steps lists them"
        )
    reopening.check_may_act(state, wanted.run_id)
    (row,) = steps.hot(session, advance.info.id, [no])
    scope = rewinding.scope_of(advance.plan, no)
    return Reached(wanted=wanted, state=state, advance=advance, row=row, scope=scope)
