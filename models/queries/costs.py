"""What runs cost, by attempts: sums by workflow, node, agent, model and day, in one statement a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, and_, distinct, exists, func, select, text, true
from sqlalchemy.orm import Session, aliased

from models.queries.dialect import as_id
from models.queries.run_views import RunFilter, narrowed
from models.run import Run
from models.step import Attempt, Step
from models.workflow import Workflow

KEYS = ("workflow", "node", "agent", "model", "day")
_SUMS = ("cost", "tokens_in", "tokens_out", "attempts")
# The session's settings pin the plans of short statements. This one reads a part of a whole table.
_FREE_PLAN = (
    "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; SET LOCAL enable_material = on;"
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which attempts, and by which of KEYS they are summed.

    runs: of these runs. run: of this one and of all that it called and waits for.
    """

    workspace_id: str
    by: tuple[str, ...]
    runs: RunFilter
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Micro-cents, tokens, attempts and the runs that these are of; `keys` in the order asked for."""

    keys: tuple[str | None, ...]
    cost: int
    tokens_in: int
    tokens_out: int
    attempts: int
    runs: int


def page(session: Session, wanted: Wanted, *, offset: int, limit: int) -> tuple[Sequence[Sum], Sum]:
    """Sums, dearest first, and the sum of all.

    An attempt that called one of the runs that are summed is left out: its cost is what that run cost.
    """
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    if on_postgresql:
        session.execute(text(_FREE_PLAN))
    rows = session.execute(statement(wanted, offset, limit, postgresql=on_postgresql)).all()
    own = len(_SUMS) + 1
    return [_sum(row[own:]) for row in rows if row[own] is not None], _sum(rows[0][:own])


def _sum(row: Sequence[Any]) -> Sum:
    cost, tokens_in, tokens_out, attempts, runs = (int(value or 0) for value in row[:5])
    return Sum(
        keys=tuple(row[5:]),
        cost=cost,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        attempts=attempts,
        runs=runs,
    )


def statement(wanted: Wanted, offset: int, limit: int, *, postgresql: bool) -> Select[Any]:
    """Each row: the sum of all, then one of the page, nulls where the page is empty."""
    spent = _spent(_picked(wanted), wanted.by, postgresql=postgresql)
    sums = [func.sum(spent.c[name]).label(name) for name in _SUMS]
    total = select(*sums, func.count(distinct(spent.c.run_id)).label("runs")).subquery("total")
    keys = [spent.c[name] for name in wanted.by]
    groups = select(*sums, func.count().label("runs"), *keys).group_by(*keys)
    dearest = [sums[0].desc(), *(key.asc().nulls_last() for key in keys)]
    found = groups.order_by(*dearest).offset(offset).limit(limit).subquery("page")
    order = [found.c.cost.desc(), *(found.c[name].asc().nulls_last() for name in wanted.by)]
    return select(*total.c, *found.c).select_from(total.outerjoin(found, true())).order_by(*order)


def _picked(wanted: Wanted) -> CTE:
    """The runs whose attempts are summed."""
    query: Any = (
        select(Run.id, Workflow.name.label("workflow"))
        .join(Workflow, Workflow.id == Run.workflow_id)
        .where(Run.workspace_id == wanted.workspace_id)
    )
    if wanted.run is not None:
        mine = (Run.workspace_id == wanted.workspace_id, Run.id == as_id(wanted.run))
        tree = select(Run.id).where(*mine).cte("tree", recursive=True)
        below = select(Run.id).join(tree, Run.parent_run_id == tree.c.id).where(Run.detached.is_(False))
        query = query.where(Run.id.in_(select(tree.union_all(below).c.id)))
    found: Select[Any] = narrowed(query, wanted.workspace_id, wanted.runs)
    return found.cte("picked").prefix_with("NOT MATERIALIZED", dialect="postgresql")


def _spent(picked: CTE, by: Sequence[str], *, postgresql: bool) -> CTE:
    """The sums of each run's attempts by the keys."""
    exprs = _keys(picked, postgresql=postgresql)
    keys = [exprs[name].label(name) for name in by]
    query = select(
        Attempt.run_id,
        func.sum(Attempt.cost_microcents).label("cost"),
        func.sum(func.coalesce(Attempt.tokens_in, 0)).label("tokens_in"),
        func.sum(func.coalesce(Attempt.tokens_out, 0)).label("tokens_out"),
        func.count().label("attempts"),
        *keys,
    ).join(picked, picked.c.id == Attempt.run_id)
    if "node" in by:
        query = query.join(Step, and_(Step.run_id == Attempt.run_id, Step.no == Attempt.no))
    return query.where(~_called(picked)).group_by(Attempt.run_id, *(exprs[name] for name in by)).cte("spent")


def _called(picked: CTE) -> ColumnElement[bool]:
    """Whether an attempt called a run that is summed too."""
    caller = aliased(Step)
    calling = (
        select(Run.parent_run_id.label("run_id"), caller.no, Run.parent_attempt.label("number"))
        .join(picked, picked.c.id == Run.id)
        .join(caller, and_(caller.run_id == Run.parent_run_id, caller.path == Run.parent_step))
        .cte("calling")
    )
    mine = (
        calling.c.run_id == Attempt.run_id,
        calling.c.no == Attempt.no,
        calling.c.number == Attempt.number,
    )
    return exists().where(*mine)


def _keys(picked: CTE, *, postgresql: bool) -> dict[str, Any]:
    at = func.coalesce(Attempt.claimed_at, Attempt.begun_at, Attempt.finished_at)
    day = func.to_char(at, "YYYY-MM-DD") if postgresql else func.strftime("%Y-%m-%d", at, "unixepoch")
    # the last part of a path is the node's id: ids hold no slash and no bracket
    before = func.rtrim(Step.path, func.replace(Step.path, "/", ""))
    return {
        "workflow": picked.c.workflow,
        "node": func.substr(Step.path, func.length(before) + 1),
        "agent": Attempt.agent,
        "model": Attempt.model,
        "day": day,
    }
