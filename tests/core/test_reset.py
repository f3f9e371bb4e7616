"""A branch cut short and done again ends as though nothing had happened, and does nothing done a second time."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.moves import is_dead, is_ready
from models.states import STEP_TERMINAL, StepStatus
from orchestrator.core import decide
from orchestrator.core.reset import Standing, reset
from tests.core.test_decide_properties import Store
from tests.support import graphs
from tests.support.definitions import compiled
from tests.support.reference import Reference


class Interrupted(Store):
    """A run's counters, whose open steps can be closed without telling anybody, and reset."""

    def digits(self, no: int) -> str | None:
        """The decided out-edges of a step as its row has them."""
        node, status = self.plan.nodes[no], self.rows[no].status
        if status == StepStatus.SUCCESS:
            return self._digits(node, self._raw[no])
        if status == StepStatus.FAILED:
            return decide.edges_on_failure(node)
        return decide.edges_on_skip(node) if status in STEP_TERMINAL else None

    def close(self, random: Random) -> None:
        for no, row in enumerate(self.rows):
            if row.status not in STEP_TERMINAL:
                self._set(no, status=random.choice((StepStatus.SKIPPED, StepStatus.ABORTED)))

    def again(self) -> set[int]:
        """Reset the run; the steps that were."""
        rows = {
            no: Standing(status=StepStatus(row.status), attempt=row.attempt, out_edges=self.digits(no))
            for no, row in enumerate(self.rows)
        }
        done = reset(self.plan, list(rows), rows)
        for move in done.moves:
            assert move.sources == (self.rows[move.no].status,)
            self._set(move.no, status=move.to, undecided=move.undecided, live=move.live)
        told = {decision.target for decision in done.decisions}
        for move in done.moves:
            assert (move.no in told) == self._may_start(move.no), move.no
        self._advance(done.decisions)
        return {move.no for move in done.moves}

    def _may_start(self, no: int) -> bool:
        """Whether the decided edges alone meet the join; naively, by the digits."""
        node = self.plan.nodes[no]
        found = [(self.digits(edge.source) or "")[edge.index :][:1] for edge in node.ins]
        return not found or is_ready(found.count(""), found.count("1"), node.need)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_what_is_done_again_ends_as_it_would_have(random: Random, steps: int) -> None:
    definition = graphs.draw(random)
    plan = compiled(definition).plan
    store = Interrupted(definition, plan)
    for _ in range(steps):
        _complete_one(store, random)
    store.close(random)
    kept = {no for no in range(len(plan.nodes)) if _is_kept(store, no)}
    assert not kept & store.again()
    while _complete_one(store, random):
        pass
    assert store.statuses == Reference(definition).complete_all().statuses


def _complete_one(store: Store, random: Random) -> bool:
    queued = [no for no, row in enumerate(store.rows) if row.status == StepStatus.QUEUED]
    if queued:
        store.complete(random.choice(queued))
    return bool(queued)


def _is_kept(store: Interrupted, no: int) -> bool:
    """What succeeded, and what failed into an error edge, is done."""
    status = store.rows[no].status
    return status == StepStatus.SUCCESS or (status == StepStatus.FAILED and store.plan.nodes[no].error_port)


def test_a_dead_join_stays_skipped() -> None:
    """Its sources stay as they were decided, so nothing brings it back to life."""
    edges = [{"from": "a", "to": "c", "handle": "error"}, "b >> d"]
    nodes = [{"id": name, "type": "probe"} for name in "abcd"]
    plan = compiled({"name": "test", "nodes": nodes, "edges": edges}).plan
    rows = {
        no: Standing(status=status, attempt=1, out_edges=digits)
        for no, (status, digits) in enumerate(
            (
                (StepStatus.SUCCESS, "0"),
                (StepStatus.FAILED, "0"),
                (StepStatus.SKIPPED, ""),
                (StepStatus.SKIPPED, ""),
            )
        )
    }
    assert is_dead(0, 0, plan.at(2).need)
    assert [move.no for move in reset(plan, [0, 1, 2, 3], rows).moves] == [1, 3]
