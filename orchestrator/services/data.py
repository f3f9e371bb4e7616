"""What a step sees: outputs of earlier steps, the run's inputs and variables, its own input.

Inputs are never stored: they are rebuilt from in-edges, outputs and the step's resolved values.
Source: spec "definition", Data chaining; spec "engine", outputs and pass-through references.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from models.queries.branches import BranchRow
from models.queries.runs import RunInfo
from models.queries.steps import Stored
from models.states import StepStatus
from orchestrator.core import inputs
from orchestrator.core.plan import InEdge, Plan, PlanNode
from orchestrator.services import rows
from orchestrator.services.rows import Rows
from orchestrator.settings import Settings

INPUTS = -1  # stands for the run's inputs in a list of passed steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A branch around a step: its number, its container's step, its place among the container's branches."""

    number: int
    container: int
    position: int


class Names(Mapping[str, Any]):
    """The roots of a step's expressions: `inputs`, `var`, `run`, `env`, each node that has an outcome, and in
    bodies `loop`, `parallel`, `item`, `index` and the containers around it.

    Outputs are loaded when they are asked for; `prefetch` loads many at once. A node that was skipped or has
    not ended is absent; one that failed is `{"error": {code, message, details}}`. `branch`: that of the step,
    0 for the run's own; `back`: nodes around it that are seen as the iteration before left them.
    """

    def __init__(
        self,
        plan: Plan,
        info: RunInfo,
        rows: Rows,
        env: Mapping[str, str] | None = None,
        *,
        branch: int = 0,
        back: Collection[int] = (),
    ) -> None:
        self._plan = plan
        self._info = info
        self._reads = rows
        self._branch = branch
        self._back = back
        self._rows: dict[int, Stored] = {}
        self._frames: dict[int, tuple[Frame, ...]] = {0: ()}
        self._known: dict[str, Any] = {"inputs": info.inputs, "run": {"id": info.id}}
        if env is not None:
            self._known["env"] = env

    def without_env(self) -> "Names":
        """The same names for what is stored: a value of the environment must not get into it."""
        if "env" not in self._known:
            return self
        return self._like(self._branch, self._back, env=None)

    def of(self, no: int) -> "Names":
        """The names as step `no` sees them."""
        return self._like(self._plan.branch(no), self._plan.at(no).back, env=self._known.get("env"))

    def after(self, branch: int) -> "Names":
        """The names behind the last step of a branch, as its container's `collect` and `condition` see them."""
        return self._like(branch, self._back, env=None)

    def _like(self, branch: int, back: Collection[int], *, env: Mapping[str, str] | None) -> "Names":
        other = Names(self._plan, self._info, self._reads, env, branch=branch, back=back)
        other._rows, other._frames = self._rows, self._frames
        return other

    def secrets(self) -> list[str]:
        """The values of the environment that a handler may have seen."""
        return [value for value in self._known.get("env", {}).values() if value]

    def __getitem__(self, root: str) -> Any:
        if root in self._known:
            return self._known[root]
        if root == "var":
            self._known["var"] = self._reads.variables()
            return self._known["var"]
        no = self._locate(root)
        return self._of_branch(root) if no is None else self._outcome(root, no)

    def _outcome(self, root: str, no: int) -> Any:
        row = self.row(no)
        if row.status == StepStatus.FAILED:
            return {"error": {k: v for k, v in (row.error or {}).items() if k != "transient"}}
        if row.status != StepStatus.SUCCESS:
            raise KeyError(root)
        return self.output(no)

    def _locate(self, root: str) -> int | None:
        """The step that a name means here: the nearest scope that has such a node."""
        for frame in (*self.frames(), None):
            if frame is None:
                return self._plan.numbers.get(root)
            place = self._plan.numbers_in[self._scope(frame)].get(root)
            if place is not None:
                seen = self._before(frame, root) if place in self._back else frame.number
                return self._plan.step_of(seen, place)
            if self._plan.nodes[self._scope(frame)].id == root:
                return None
        return None

    def _scope(self, frame: Frame) -> int:
        return frame.container % len(self._plan.nodes)

    def _before(self, frame: Frame, root: str) -> int:
        before = self._reads.branch_at(frame.container, frame.position - 1) if frame.position else None
        if before is None:
            raise KeyError(root)
        return before.number

    def _of_branch(self, root: str) -> Any:
        """`loop`, `parallel`, `item`, `index`, or a container around the step by its id."""
        for frame in self.frames():
            node = self._plan.nodes[self._scope(frame)]
            if root == node.type:
                return self._variables_of(frame, node)
            if root == node.id:
                return {node.type: self._variables_of(frame, node)}
            if root in ("item", "index"):
                return self.item(frame) if root == "item" else frame.position
        raise KeyError(root)

    def _variables_of(self, frame: Frame, node: PlanNode) -> dict[str, Any]:
        item, total = self.item(frame), self._reads.total(frame.container)
        if node.type == "loop":
            return {"index": frame.position, "iteration": frame.position + 1, "item": item, "total": total}
        return {
            "index": frame.position,
            "currentItem": item,
            "branchId": f"{node.id}[{frame.position}]",
            "item": item,
            "total": total,
        }

    def item(self, frame: Frame) -> Any:
        """A branch's item; where its container only counts, its place from 0."""
        has_items, item = self._reads.item(frame.container, frame.position)
        return item if has_items else frame.position

    def frames(self) -> tuple[Frame, ...]:
        """The branches around the step, the nearest first."""
        return self._around(self._branch)

    def _around(self, number: int) -> tuple[Frame, ...]:
        if number not in self._frames:
            row = self._reads.branch(number)
            frame = Frame(number=number, container=row.container, position=row.position)
            self._frames[number] = (frame, *self._around(self._plan.branch(row.container)))
        return self._frames[number]

    def __iter__(self) -> Iterator[str]:
        yield from ("inputs", "run", "var")
        for frame in self.frames():
            yield from self._plan.numbers_in[self._scope(frame)]
        yield from self._plan.numbers

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, root: object) -> bool:
        try:
            self[str(root)]
        except KeyError:
            return False
        return True

    def know(self, no: int, row: Stored) -> None:
        """Take a row that the caller has at hand."""
        self._rows[no] = row

    def found(self, no: int) -> Stored | None:
        """A row that was read already, None where none was."""
        return self._rows.get(no)

    def know_undone(self, node: PlanNode, live_in: str | None) -> None:
        """Take the owner of a compensation as the attempt left it that is undone."""
        if node.undoes is not None and live_in is not None:
            self._rows[node.undoes] = self._reads.undone(node.undoes, int(live_in))

    def steps_of(self, places: Collection[int]) -> list[int]:
        """The steps of nodes as this step sees them; those that an iteration before may have left are left out."""
        found = []
        for place in places:
            scope = self._plan.nodes[place].scope
            if place in self._back:
                continue
            around = {self._scope(frame): frame.number for frame in self.frames()}
            if scope is None or scope in around:
                found.append(self._plan.step_of(0 if scope is None else around[scope], place))
        return found

    def prefetch(self, nos: Collection[int]) -> None:
        """Load these steps, and the ones whose outputs they pass on, in at most two reads."""
        for _ in range(2):
            missing = {no for no in nos if no != INPUTS and no not in self._rows}
            if missing:
                self._rows.update((row.no, row) for row in self._reads.stored(missing))
            nos = [passed for no in nos if no in self._rows for passed in self._rows[no].passed or ()]

    def row(self, no: int) -> Stored:
        if no not in self._rows:
            self.prefetch([no])
        return self._rows[no]

    def output(self, no: int) -> Any:
        """The output of a step that succeeded, dereferenced when it was passed on, put together from branches."""
        if no == INPUTS:
            return self._info.inputs
        return self._output_of(self.row(no))

    def _output_of(self, row: Stored) -> Any:
        no = row.no
        if row.passed is not None:
            return inputs.merge(self.output(passed) for passed in row.passed)
        if self._plan.at(no).body is not None and isinstance(row.output, dict) and row.error is None:
            if row.output.get("truncated"):
                return {"results": [], **row.output}
            return {"results": self._results(no), **row.output}
        return row.output

    def _results(self, no: int) -> list[Any]:
        """What a container's branches gave, in order."""
        node, found = self._plan.at(no), self._reads.branches(no)
        scope = no % len(self._plan.nodes)
        places = [terminal.no for terminal in self._plan.terminal_of(scope)]
        if "collect" not in node.fields:
            self.prefetch(
                [self._plan.step_of(branch.number, place) for branch in found for place in places]
            )
        return [self._result(node, branch, places) for branch in found]

    def _result(self, node: PlanNode, branch: BranchRow, places: list[int]) -> Any:
        if branch.status != "success":
            error = branch.error or {"code": "CANCELLED", "message": "the branch was ended with its container"}
            return {"error": {"code": error["code"], "message": error["message"]}}
        if "collect" in node.fields:
            return branch.result
        outputs = {}
        for place in places:
            no = self._plan.step_of(branch.number, place)
            if self.row(no).status == StepStatus.SUCCESS:
                outputs[self._plan.nodes[place].id] = self.output(no)
        if len(places) == 1:
            return next(iter(outputs.values()), None)
        return outputs

    def live_sources(self, node: PlanNode, live_in: str | None) -> list[int]:
        """The steps that this one's input is made of, in the order of the edges; [INPUTS] for an entry."""
        if not node.ins:
            return [INPUTS]
        if node.need is not None or live_in is not None:
            places = sorted(int(place) for place in (live_in or "").split(",") if place)
            return [node.ins[place].source for place in places]
        self.prefetch([edge.source for edge in node.ins])
        return [edge.source for edge in node.ins if self._lives(edge)]

    def _lives(self, edge: InEdge) -> bool:
        return (self.row(edge.source).out_edges or "")[edge.index : edge.index + 1] == "1"

    def chained(self, node: PlanNode, live_in: str | None) -> dict[str, Any]:
        """The merged outputs of the live predecessors; a failed one gives nothing but its error by name.

        An entry of the run has the run's inputs, one of a body its container's input, its item and its place. A
        compensation has what is undone.
        """
        branch = self._plan.branch(node.no)
        if node.undoes is not None:
            assert live_in is not None
            return inputs.merge([self._output_of(self._reads.undone(node.undoes, int(live_in)))])
        if not node.ins and branch:
            return self._entering(self._around(branch)[0])
        sources = self.live_sources(node, live_in)
        self.prefetch(sources)
        return inputs.merge(
            self.output(no) for no in sources if no == INPUTS or self.row(no).status != StepStatus.FAILED
        )

    def _entering(self, frame: Frame) -> dict[str, Any]:
        live_in, resolved = self._reads.given(frame.container)
        around = self.chained(self._plan.at(frame.container), live_in) | (resolved or {})
        return {**around, "item": self.item(frame), "index": frame.position}


def names(
    session: Session, plan: Plan, info: RunInfo, env: Mapping[str, str] | None = None, *, no: int = 0
) -> Names:
    """Names that read within a transaction, as step `no` sees them."""
    return Names(
        plan, info, rows.within(session, info.id), env, branch=plan.branch(no), back=plan.at(no).back
    )


def environment(settings: Settings) -> dict[str, str]:
    """What `{{env.X}}` may read: the allowed names that are set."""
    return {name: os.environ[name] for name in settings.env_allow if name in os.environ}


def digest(value: Any) -> str:
    """A short hash of a JSON value, the same for the same value whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def step_input(
    session: Session, plan: Plan, info: RunInfo, node: PlanNode, live_in: str | None, resolved: Any
) -> dict[str, Any]:
    """A step's input as it was given to its handler, rebuilt."""
    return names(session, plan, info, no=node.no).chained(node, live_in) | (resolved or {})
