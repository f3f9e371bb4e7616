"""Which steps of this process's runs go many at a time, and what it has at hand for their bodies."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from models.database import OUTAGES
from models.queries.runs import RunInfo
from models.queries.steps import Stored
from models.states import STEP_TERMINAL
from orchestrator.core import batches
from orchestrator.core.effects import Message, Wave
from orchestrator.core.plan import Plan, PlanNode
from orchestrator.services import performing
from orchestrator.services.claiming import Claimed
from orchestrator.services.deps import Deps
from orchestrator.services.overrides import effective

KEPT = 4 * batches.SIZE


def may(deps: Deps, info: RunInfo, plan: Plan, no: int) -> bool:
    """Whether a step can be claimed and completed with others of its run, whatever it costs."""
    if info.has_budget or plan.branch(no):
        return False
    return _may(deps, info, plan.at(no))


def _may(deps: Deps, info: RunInfo, node: PlanNode) -> bool:
    return batches.may_batch(effective(info, node), deps.types.get(node.type))


def cheap(deps: Deps, info: RunInfo, node: PlanNode) -> bool:
    """Whether steps of a node are known to cost next to nothing, and may go many at a time."""
    return deps.paces.cheap(node.type) and _may(deps, info, node)


def split(
    deps: Deps, info: RunInfo, plan: Plan, looks: Sequence[Message]
) -> tuple[list[Message], list[Message]]:
    """Messages of one run: those whose steps can be claimed together, and the others."""
    together = [look for look in looks if may(deps, info, plan, look.no)]
    return together, [look for look in looks if look not in together]


def marked(deps: Deps, wave: Wave) -> Wave:
    """A wave whose messages say which of them may travel together: none of a run or plan that has to be read first
    and cannot be.
    """
    if len(wave.messages) == 1 or wave.join is not None or not deps.paces.any_cheap:
        return wave
    try:
        info = deps.runs.get(wave.messages[0].run_id)
    except OUTAGES:
        return wave
    plan = None if info is None else deps.plans.known(info.version_id)
    if info is None or plan is None:
        return wave
    return replace(
        wave,
        messages=tuple(
            replace(each, cheap=may(deps, info, plan, each.no) and deps.paces.cheap(plan.at(each.no).type))
            for each in wave.messages
        ),
    )


@dataclass(slots=True)
class Known:
    """Rows of ended steps of one run, as a worker that goes on with it has them at hand."""

    _rows: dict[int, Stored] = field(default_factory=dict)

    def add(self, rows: Collection[Stored]) -> None:
        """Keep rows for the steps that follow; when there are many, only these."""
        if len(self._rows) > KEPT:
            self._rows.clear()
        self._rows.update((row.no, row) for row in rows if row.status in STEP_TERMINAL)

    def ahead(self, deps: Deps, many: Collection[Claimed]) -> list[Claimed]:
        """Steps of the run with the rows that their bodies need, read at once; raises OUTAGES."""
        plan = next(iter(many)).plan
        own = [claimed for claimed in many if not plan.branch(claimed.no)]
        if len(own) < len(many):
            return list(many)  # a branch sees its own rows
        ready = performing.read_ahead(deps, own, self._rows)
        self.add([row for claimed in ready for row in claimed.known])
        return ready
