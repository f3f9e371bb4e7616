"""What was spent, broken down: the sums are those of the attempts, each money once."""

import itertools
from collections import defaultdict
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from models.database import Database
from models.queries.costs import KEYS
from models.queries.run_views import RunFilter
from models.run import Run
from models.step import Attempt, Step
from models.workflow import Workflow, WorkflowVersion
from orchestrator.services import costs
from orchestrator.services.paging import PageRequest
from orchestrator.settings import Settings
from tests.services.test_random_calls import carry, draw, go_on
from tests.support.calls import call, everything, made, sound
from tests.support.engine import Engine
from tests.support.probes import probe, publish

HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
ALL = RunFilter()


def asked(
    ours: Engine, *by: str, runs: RunFilter = ALL, run: str | None = None, limit: int = 200
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The items of all pages, and the total, which every page has the same."""
    items: list[dict[str, Any]] = []
    totals = []
    cursor = None
    while cursor is not None or not totals:
        page = costs.page(ours.deps, ours.actor, by, runs, run, PageRequest(limit=limit, cursor=cursor))
        items += page["items"]
        totals.append(page["total"])
        cursor = page["next_cursor"]
    assert all(total == totals[0] for total in totals)
    return items, totals[0]


def reference(ours: Engine, by: tuple[str, ...]) -> list[dict[str, Any]]:
    """The same of everything in the workspace, counted one by one, by the plans of the versions."""
    with ours.deps.db.read() as session:
        runs = {run.id: run for run in session.scalars(select(Run))}
        names = dict(session.execute(select(Workflow.id, Workflow.name)).all())
        plans = {
            version: ours.deps.plans.get(session, version)
            for version in session.scalars(select(WorkflowVersion.id))
        }
        paths = {(row.run_id, row.no): row.path for row in session.scalars(select(Step))}
        attempts = session.scalars(select(Attempt)).all()
    callers = {(run.parent_run_id, run.parent_step, run.parent_attempt) for run in runs.values()}
    sums: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [0, 0, 0, 0, set()])
    for each in attempts:
        run = runs[each.run_id]
        if run.workspace_id != ours.actor.workspace_id:
            continue
        if (each.run_id, paths[each.run_id, each.no], each.number) in callers:
            continue
        nodes = plans[run.version_id].nodes
        keys = {
            "workflow": names[run.workflow_id],
            "node": nodes[each.no % len(nodes)].id,
            "agent": each.agent,
            "model": each.model,
            "day": (each.claimed_at or each.begun_at).strftime("%Y-%m-%d"),
        }
        found = sums[tuple(keys[name] for name in by)]
        found[0] += each.cost_microcents
        found[1] += each.tokens_in or 0
        found[2] += each.tokens_out or 0
        found[3] += 1
        found[4].add(run.id)
    rows = [
        dict(zip(by, keys, strict=True))
        | {
            "cost_microcents": f[0],
            "tokens": {"input": f[1], "output": f[2]},
            "attempts": f[3],
            "runs": len(f[4]),
        }
        for keys, f in sums.items()
    ]
    return ordered(rows, by)


def ordered(rows: list[dict[str, Any]], by: tuple[str, ...]) -> list[dict[str, Any]]:
    return sorted(
        rows, key=lambda row: (-row["cost_microcents"], [(row[k] is None, row[k] or "") for k in by])
    )


def paid(ours: Engine) -> int:
    """What the runs cost that nobody called, and those that nobody waits for."""
    return sum(run.cost_microcents for run in everything(ours) if run.parent_run_id is None or run.detached)


SUBSETS = [by for size in range(1, 6) for by in itertools.permutations(KEYS, size)]


@settings(max_examples=15, deadline=None, suppress_health_check=HEALTH)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SUBSETS), st.integers(1, 5))
def test_costs_of_random_trees_are_those_of_their_attempts(
    database: Database, seed: int, by: tuple[str, ...], limit: int
) -> None:
    random = Random(seed)
    count = random.randint(2, 4)
    ours = made(
        database, *(draw(random, no, count) for no in range(count)), settings=Settings(max_call_depth=3)
    )
    for _ in range(2):
        ours.start("w0", inputs={})
    carry(ours, random)
    go_on(ours, random)
    sound(ours)
    items, total = asked(ours, *by, limit=limit)
    assert items == ordered(items, by)
    assert items == reference(ours, by)
    assert total["cost_microcents"] == sum(item["cost_microcents"] for item in items) == paid(ours)
    assert total["attempts"] == sum(item["attempts"] for item in items)
    assert asked(ours, *by, limit=200) == (items, total)
    for run in everything(ours):
        assert asked(ours, "workflow", run=run.id)[1]["cost_microcents"] == run.cost_microcents


def usage(cents: int, **more: Any) -> dict[str, Any]:
    return {"succeed": {}, "usage": {"cost_microcents": cents, **more}}


def test_steps_of_bodies_count_for_their_nodes_and_retries_for_all_their_tries(database: Database) -> None:
    told = usage(5, agent="scribe", model="stub/m", tokens_in=10, tokens_out=1)
    body = {"nodes": [probe("write", told)], "edges": []}
    ours = publish(
        database,
        probe("first", [{"fail": "NETWORK"}, usage(7)], retry={"max_attempts": 2, "initial": 0, "jitter": 0}),
        {"id": "each", "type": "loop", "mode": "for_each", "items": [1, 2, 3], "body": body},
        edges=["first >> each"],
    )
    run_id = ours.run("w")
    while ours.timers:
        ours.timers.clear()
        ours.sweep()
        ours.drain()
    assert ours.row(run_id).status == "success", ours.statuses(run_id)
    items, total = asked(ours, "node", "agent", "model")
    assert items[0] == {
        "node": "write",
        "agent": "scribe",
        "model": "stub/m",
        "cost_microcents": 15,
        "tokens": {"input": 30, "output": 3},
        "attempts": 3,
        "runs": 1,
    }
    assert {"node": "first", "attempts": 2, "cost_microcents": 7}.items() <= items[1].items()
    assert total["cost_microcents"] == ours.row(run_id).cost_microcents == 22


def test_filters_pick_runs_and_no_money_is_lost_or_counted_twice(database: Database) -> None:
    ours = made(
        database,
        {
            "name": "outer",
            "nodes": [probe("own", usage(1)), call("asks", "inner"), call("tells", "inner", wait=False)],
        },
        {"name": "inner", "nodes": [probe("work", usage(10))]},
    )
    run_id = ours.run("outer", labels={"team": "a"})
    ours.run("inner", labels={"team": "b"})
    sound(ours)
    assert ours.row(run_id).cost_microcents == 11

    def total(**runs: Any) -> int:
        run = runs.pop("run", None)
        return int(asked(ours, "workflow", runs=replace(ALL, **runs), run=run)[1]["cost_microcents"])

    assert total() == paid(ours) == 31
    assert total(workflow="outer") == 11  # what it called counts at the step that called it
    assert total(workflow="inner") == 30
    assert total(run=run_id) == 11
    assert total(labels=(("team", "a"),)) == 11
    assert total(labels=(("team", "b"),)) == 10
    created = ours.row(run_id).created_at
    assert (total(created_before=created), total(created_after=created)) == (0, 30)
    assert asked(ours, "node", run="nobody") == (
        [],
        {"cost_microcents": 0, "tokens": {"input": 0, "output": 0}, "attempts": 0, "runs": 0},
    )
    assert [item["node"] for item in asked(ours, "node", run=run_id)[0]] == ["work", "own", "tells"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_costs_of_other_workspaces_are_not_seen(database: Database) -> None:
    publish(database, probe("a", usage(3))).run("w")
    ours = publish(database, probe("a", usage(4)))
    run_id = ours.run("w")
    assert asked(ours, "workflow")[1]["cost_microcents"] == 4
    elsewhere = publish(database, probe("a"))
    assert asked(elsewhere, "workflow", run=run_id)[0] == []
