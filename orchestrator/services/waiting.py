"""Why a step waits: derived from rows at each question, never written.

The text goes after "waits for". A step that runs or has ended waits for nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from models.queries import concurrency, pools, sweeps
from models.queries import lanes as queries
from models.run import Run
from models.states import STEP_TERMINAL, RunStatus, StepStatus
from models.step import Step
from orchestrator.core import lanes
from orchestrator.core.lanes import Kind, Lane
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.services import consumers
from orchestrator.services import lanes as turns
from orchestrator.services.concurrency import name_of
from orchestrator.services.data import Names
from orchestrator.services.deps import Deps
from orchestrator.services.shapes import moment

NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the steps of one run are explained from; what was found for one is kept for the next."""

    session: Session
    deps: Deps
    run: Run
    plan: Plan
    names: Names
    _found: dict[str, str] = field(default_factory=dict)

    def reason(self, step: Step) -> str | None:
        """What a step waits for, None when it runs or has ended."""
        match StepStatus(step.status):
            case StepStatus.PENDING:
                return self._turn() if self.run.status == RunStatus.PENDING else self._join(step)
            case StepStatus.QUEUED:
                return self._queued(step)
            case StepStatus.RETRYING:
                return f"its retry, due at {moment(step.due_at)}"
            # of a slow step `due_at` is only when its answer is looked for next
            case StepStatus.WAITING if step.due_at is not None and not self.plan.at(step.no).slow:
                return f"{step.waiting_for}, due at {moment(step.due_at)}"
            case StepStatus.WAITING:
                return step.waiting_for
            case _:
                return None

    def _join(self, step: Step) -> str | None:
        node = self.plan.at(step.no)
        sources = dict.fromkeys(edge.source for edge in node.ins)
        left = [self.plan.at(no).id for no in sources if self.names.row(no).status not in STEP_TERMINAL]
        if not left:
            return None
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        listed = ", ".join(left[:NAMED]) + more
        if node.need is None:
            return f"the end of {listed}"
        return f"{node.need} live edges, of which it has {step.live}: of {listed}"

    def _turn(self) -> str:
        """The run itself waits."""
        key = self.run.concurrency_key
        if key is None:
            return "the start of its run"
        terms = self.plan.concurrency
        limit = 1 if terms is None else terms["limit"]
        ahead = concurrency.ahead(self.session, key, self.run.id, self.run.priority)
        return (
            f"the run's turn under the concurrency key {name_of(key)!r}: "
            f"{concurrency.started(self.session, key)} of {limit} go on, {ahead} are ahead"
        )

    def _queued(self, step: Step) -> str:
        if self.run.status == RunStatus.PAUSED:
            return "the run to be resumed: it is paused"
        if self.run.stopping is not None:
            return "the run's stop, which skips it"
        if step.sent_at is not None:
            return self._kept(f"queue {step.queue}", lambda: self._worker(step.queue))
        if step.lane is None:
            return "the next sweep, which sends it"
        lane = lanes.parse(step.lane)
        if lane.kind is Kind.POOL:
            return self._pool(lane, self.plan.at(step.no))
        return self._kept(
            step.lane, lambda: self._window(lane) if lane.kind is Kind.QUEUE else self._rate(lane, step)
        )

    def _worker(self, queue: str) -> str:
        slots = queries.consumers(self.session, queue, consumers.SEEN_SECONDS)
        if slots == 0:
            return f"a worker: none takes the queue {queue}"
        return f"a free worker of the queue {queue}, which takes {slots} steps at once"

    def _window(self, lane: Lane) -> str:
        size = turns.window(self.deps, self.session, lane.name)
        sent = queries.sent(self.session, lane.workspace_id, lane.name, size)
        return f"the dispatch window of the queue {lane.name}: {sent} of {size} are sent and not begun"

    def _pool(self, lane: Lane, node: PlanNode) -> str:
        size = pools.size(self.session, lane.workspace_id, lane.name)
        if size is None:
            return f"the pool {lane.name}, which is not there: PUT /api/pools/{lane.name}"
        if node.slots > size:
            return f"the pool {lane.name}: it has {size} slots, the step takes {node.slots}"
        return f"the pool {lane.name}: {pools.taken(self.session, str(lane))} of {size} slots are taken"

    def _rate(self, lane: Lane, step: Step) -> str:
        rate = self.plan.at(step.no).rate
        if rate is None:
            return f"the rate of the key {lane.name!r}"
        now = sweeps.clock(self.session)
        nth = pools.nth_last(self.session, str(lane), rate["limit"])
        seconds = lanes.until(nth, now, rate["per"]) or 0.0
        at = moment(datetime.fromtimestamp(now + seconds, UTC))
        terms = f"{rate['limit']} in {rate['per']:g} s"
        return f"the rate of the key {lane.name!r}, {terms}: the next may begin at {at}"

    def _kept(self, name: str, find: Callable[[], str]) -> str:
        if name not in self._found:
            self._found[name] = find()
        return self._found[name]
