"""A short fault schedule: 20 runs of every node type, one fault of each kind. `make faults` is the long one."""

from pathlib import Path

import pytest

from orchestrator import registry
from tests.faults import plan, schedule, workload
from tests.faults.plan import Kind

# On a machine that is busy with other tests what was killed may be long in coming back, and how many steps 13 faults
# in 30 s hit says nothing of a share of all: these are for the long one.
_OF_THE_LONG_ONE = ("not healed", "late returns", "late ends", "too many repeats")


@pytest.mark.crash
@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_20_runs_through_one_fault_of_each_kind(tmp_path: Path) -> None:
    report = schedule.conduct(plan.draw(seed=20, seconds=30.0, runs=20, mean_gap=30.0), tmp_path)
    assert [found for found in report.findings if found.kind not in _OF_THE_LONG_ONE] == [], str(report)
    assert len(report.record.wounds) + report.record.spared == len(Kind)
    assert report.books.events["run.completed"] >= 15


def test_the_load_has_every_node_type() -> None:
    types = {kind for each in workload.definitions("http://127.0.0.1") for kind in workload.node_types(each)}
    assert set(registry.BUILT_IN) - types == set()


def test_a_seed_gives_the_same_faults_and_runs() -> None:
    assert plan.draw(7, 600.0, 300, 6.0) == plan.draw(7, 600.0, 300, 6.0)
    assert workload.jobs(7, 300, 540.0) == workload.jobs(7, 300, 540.0)
    assert plan.draw(7, 600.0, 300, 6.0).faults != plan.draw(8, 600.0, 300, 6.0).faults
