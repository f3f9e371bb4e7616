"""What a step sees: outputs of earlier steps, the run's inputs and variables, its own input.

Inputs are never stored: they are rebuilt from in-edges, outputs and the step's resolved values.
Source: spec "definition", Data chaining; spec "engine", outputs and pass-through references.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from sqlalchemy.orm import Session

from models.queries import runs, steps
from models.queries.runs import RunInfo
from models.queries.steps import Stored
from models.states import StepStatus
from orchestrator.core import inputs
from orchestrator.core.plan import InEdge, Plan, PlanNode
from orchestrator.settings import Settings

INPUTS = -1  # stands for the run's inputs in a list of passed steps
Load = Callable[[Collection[int]], list[Stored]]


class Names(Mapping[str, Any]):
    """The roots of a step's expressions: `inputs`, `var`, `run`, `env`, and each node that has an outcome.

    Outputs are loaded when they are asked for; `prefetch` loads many at once. A node that was skipped or has
    not ended is absent; one that failed is `{"error": {code, message, details}}`.
    """

    def __init__(
        self,
        plan: Plan,
        info: RunInfo,
        load: Load,
        variables: Callable[[], Mapping[str, Any]],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._plan = plan
        self._info = info
        self._load = load
        self._variables = variables
        self._rows: dict[int, Stored] = {}
        self._known: dict[str, Any] = {"inputs": info.inputs, "run": {"id": info.id}}
        self._numbers = plan.numbers
        if env is not None:
            self._known["env"] = env

    def without_env(self) -> "Names":
        """The same names for what is stored: a value of the environment must not get into it."""
        if "env" not in self._known:
            return self
        other = Names(self._plan, self._info, self._load, self._variables)
        other._rows = self._rows
        return other

    def secrets(self) -> list[str]:
        """The values of the environment that a handler may have seen."""
        return [value for value in self._known.get("env", {}).values() if value]

    def __getitem__(self, root: str) -> Any:
        if root in self._known:
            return self._known[root]
        if root == "var":
            self._known["var"] = self._variables()
            return self._known["var"]
        no = self._numbers[root]
        row = self.row(no)
        if row.status == StepStatus.FAILED:
            return {"error": {k: v for k, v in (row.error or {}).items() if k != "transient"}}
        if row.status not in (StepStatus.SUCCESS, StepStatus.COMPENSATED):
            raise KeyError(root)
        return self.output(no)

    def __iter__(self) -> Iterator[str]:
        yield from ("inputs", "run", "var")
        yield from (node.id for node in self._plan.nodes)

    def __len__(self) -> int:
        return 3 + len(self._plan.nodes)

    def __contains__(self, root: object) -> bool:
        try:
            self[str(root)]
        except KeyError:
            return False
        return True

    def know(self, no: int, row: Stored) -> None:
        """Take a row that the caller has at hand."""
        self._rows[no] = row

    def prefetch(self, nos: Collection[int]) -> None:
        """Load these steps, and the ones whose outputs they pass on, in at most two reads."""
        for _ in range(2):
            missing = {no for no in nos if no != INPUTS and no not in self._rows}
            if missing:
                self._rows.update((row.no, row) for row in self._load(missing))
            nos = [passed for no in nos if no in self._rows for passed in self._rows[no].passed or ()]

    def row(self, no: int) -> Stored:
        if no not in self._rows:
            self.prefetch([no])
        return self._rows[no]

    def output(self, no: int) -> Any:
        """The output of a step that succeeded, dereferenced when it was passed on."""
        if no == INPUTS:
            return self._info.inputs
        row = self.row(no)
        if row.passed is None:
            return row.output
        return inputs.merge(self.output(passed) for passed in row.passed)

    def live_sources(self, node: PlanNode, live_in: str | None) -> list[int]:
        """The steps that this one's input is made of, in the order of the edges; [INPUTS] for an entry."""
        if not node.ins:
            return [INPUTS]
        if node.need is not None:
            places = sorted(int(place) for place in (live_in or "").split(",") if place)
            return [node.ins[place].source for place in places]
        self.prefetch([edge.source for edge in node.ins])
        return [edge.source for edge in node.ins if self._lives(edge)]

    def _lives(self, edge: InEdge) -> bool:
        return (self.row(edge.source).out_edges or "")[edge.index : edge.index + 1] == "1"

    def chained(self, node: PlanNode, live_in: str | None) -> dict[str, Any]:
        """The merged outputs of the live predecessors; a failed one gives nothing but its error by name."""
        sources = self.live_sources(node, live_in)
        self.prefetch(sources)
        return inputs.merge(
            self.output(no) for no in sources if no == INPUTS or self.row(no).status != StepStatus.FAILED
        )


def names(session: Session, plan: Plan, info: RunInfo, env: Mapping[str, str] | None = None) -> Names:
    """Names that read within a transaction."""
    return Names(
        plan,
        info,
        load=lambda nos: steps.stored(session, info.id, nos),
        variables=lambda: runs.variables(session, info.id),
        env=env,
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
    return names(session, plan, info).chained(node, live_in) | (resolved or {})
