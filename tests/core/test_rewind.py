"""Whatever is taken back, and whenever: the run ends as though it had gone like that at once."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.moves import Decision, is_dead, is_ready
from models.states import STEP_TERMINAL, StepStatus
from orchestrator.core import decide
from orchestrator.core.rewind import Rewound, Standing, rewind
from orchestrator.core.skips import descendants
from tests.core.test_decide_properties import Store
from tests.support import graphs
from tests.support.definitions import compiled
from tests.support.graphs import TRUTH
from tests.support.operated import Operated

ENDED = (StepStatus.SUCCESS, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.ABORTED)


class Hands(Store):
    """A run's counters, in which an operator has a hand. `forced`: what was given by hand; `closed`: undecided."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.forced: dict[str, str] = {}
        self.closed: set[int] = set()
        self.definition = graphs.draw(random)
        super().__init__(self.definition, compiled(self.definition).plan)

    def of(self, *statuses: StepStatus) -> list[int]:
        return [no for no, row in enumerate(self.rows) if row.status in statuses]

    def act(self) -> None:
        """One of an operator's acts, or a worker's; where there is nothing for it, none."""
        acts = [self.work, self.work, self.retry, self.rerun, self.skip, self.complete_by_hand, self.stop]
        self.random.choice(acts)()

    def work(self) -> None:
        queued = self.of(StepStatus.QUEUED)
        if queued:
            self.complete(self.random.choice(queued))

    def retry(self) -> None:
        self._again([no for no in self.of(StepStatus.FAILED) if no not in self.closed])

    def rerun(self) -> None:
        self._again(self.of(*ENDED))

    def _again(self, candidates: list[int]) -> None:
        if candidates:
            no = self.random.choice(candidates)
            found = self.take_back(again=(no,))
            if all(move.no != no for move in found.moves):
                assert self.rows[no].status == StepStatus.SKIPPED  # dead, and stays so
            self._advance(found.decisions)

    def skip(self) -> None:
        self._end_by_hand(StepStatus.SKIPPED)

    def complete_by_hand(self) -> None:
        self._end_by_hand(StepStatus.SUCCESS)

    def _end_by_hand(self, to: StepStatus) -> None:
        open_ = self.of(StepStatus.PENDING, StepStatus.QUEUED) if to is StepStatus.SKIPPED else []
        candidates = [*self.of(StepStatus.FAILED), *open_]
        if not candidates:
            return
        node = self.plan.nodes[no := self.random.choice(candidates)]
        holds = [None if edge.when is None else TRUTH[edge.when] for edge in node.out]
        if any(held is None for held, edge in zip(holds, node.out, strict=True) if edge.when is not None):
            return
        success = decide.edges_on_success(node, route=None, terminal=False, holds=holds)
        digits = decide.edges_on_skip(node) if to is StepStatus.SKIPPED else success
        found = self.take_back(anew=(no,)) if no not in open_ else None
        self._set(no, status=to)
        self.forced[node.id] = to.value
        back: tuple[Decision, ...] = found.decisions if found is not None else ()
        self._advance((*decide.decisions(self.plan, node, digits), *back))

    def stop(self) -> None:
        """The run is stopped: what is open is closed, and tells nobody."""
        if self.random.random() < 0.3:
            for no in self.of(StepStatus.PENDING, StepStatus.QUEUED):
                self._close(no)

    def _close(self, no: int) -> None:
        self.closed.add(no)
        self._set(no, status=self.random.choice((StepStatus.SKIPPED, StepStatus.ABORTED)))

    def digits(self, no: int) -> str | None:
        """The decided out-edges of a step as its row has them."""
        node, status = self.plan.nodes[no], self.rows[no].status
        if no in self.closed or status not in STEP_TERMINAL:
            return None
        if status == StepStatus.FAILED:
            return decide.edges_on_failure(node)
        if status != StepStatus.SUCCESS:
            return decide.edges_on_skip(node)
        if node.id in self.forced:
            holds = [None if edge.when is None else TRUTH[edge.when] for edge in node.out]
            return decide.edges_on_success(node, route=None, terminal=False, holds=holds)
        return self._digits(node, self._raw[no])

    def take_back(self, again: tuple[int, ...] = (), anew: tuple[int, ...] = ()) -> Rewound:
        stood = [row.status for row in self.rows]
        found = self._rewound(again, anew)
        for no in found.closing:
            self._close(no)
        found = self._rewound(again, anew)
        assert not found.closing
        behind = descendants(self.plan, (*again, *anew))
        for move in found.moves:
            assert move.no in behind or move.no in self.closed, "what is not behind it was done, and stays"
            assert move.sources == (self.rows[move.no].status,)
            self._set(move.no, status=move.to, undecided=move.undecided, live=move.live)
            self.closed.discard(move.no)
            self.forced.pop(self.plan.nodes[move.no].id, None)
        for no, status in enumerate(stood):
            if status == StepStatus.SUCCESS and no not in behind:
                assert self.rows[no].status == StepStatus.SUCCESS
        self._assert_counted(found, anew)
        return found

    def _rewound(self, again: tuple[int, ...], anew: tuple[int, ...]) -> Rewound:
        rows = {
            no: Standing(
                status=StepStatus(row.status),
                attempt=row.attempt,
                out_edges=self.digits(no),
                undecided=row.undecided,
                live=row.live,
            )
            for no, row in enumerate(self.rows)
        }
        return rewind(self.plan, rows, again, anew)

    def _assert_counted(self, found: Rewound, anew: tuple[int, ...]) -> None:
        """Counters and what is still told agree with the decided edges, and let go on what these decide."""
        told = {decision.target for decision in found.decisions}
        for no in self.of(StepStatus.PENDING):
            node = self.plan.nodes[no]
            digits = [
                None if edge.source in anew else self.digits(edge.source) for edge in node.ins
            ]
            at = [
                None if found_ is None else found_[edge.index] == "1"
                for found_, edge in zip(digits, node.ins, strict=True)
            ]
            mine = [decision for decision in found.decisions if decision.target == no]
            if node.ins:
                row = self.rows[no]
                assert row.undecided - sum(d.decided for d in mine) == at.count(None)
                assert row.live + sum(d.live for d in mine) == at.count(True)
            counts = (at.count(None), at.count(True))
            decided = not node.ins or is_ready(*counts, node.need) or is_dead(*counts, node.need)
            assert (no in told) == decided, node.id


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 20))
def test_a_run_with_an_operator_ends_as_if_it_had_gone_like_that(random: Random, acts: int) -> None:
    run = Hands(random)
    for _ in range(acts):
        run.act()
    if run.closed:
        run._advance(run.take_back().decisions)
    while run.of(StepStatus.QUEUED):
        run.work()
    assert run.statuses == Operated(run.definition, run.forced).statuses


def test_what_is_before_and_beside_stays() -> None:
    nodes = [{"id": name, "type": "probe"} for name in "abcd"]
    plan = compiled({"name": "test", "nodes": nodes, "edges": ["a >> [b, c] >> d"]}).plan
    done = {
        no: Standing(status=StepStatus.SUCCESS, attempt=1, out_edges=edges, undecided=0, live=live)
        for no, (edges, live) in enumerate((("11", 1), ("1", 1), ("1", 1), ("", 2)))
    }
    found = rewind(plan, done, again=(1,))
    assert [(move.no, move.undecided, move.live) for move in found.moves] == [(1, 1, 0), (3, 1, 1)]
    assert [(decision.target, decision.live) for decision in found.decisions] == [(1, 1)]
    assert (found.after, found.closing) == ({3}, ())


def test_what_goes_on_behind_it_has_to_be_closed_first() -> None:
    nodes = [{"id": name, "type": "probe"} for name in "ab"]
    plan = compiled({"name": "test", "nodes": nodes, "edges": ["a >> b"]}).plan
    rows = {
        0: Standing(status=StepStatus.SUCCESS, attempt=1, out_edges="1", undecided=0, live=1),
        1: Standing(status=StepStatus.RUNNING, attempt=1, out_edges=None, undecided=0, live=1),
    }
    assert rewind(plan, rows, again=(0,)).closing == (1,)


def test_what_an_untold_failure_makes_dead_is_told_so() -> None:
    """Where a run fails fast the targets of the failure are closed untold; if it stays they are dead."""
    nodes = [{"id": name, "type": "probe"} for name in "abc"]
    plan = compiled({"name": "test", "nodes": nodes, "edges": ["a >> b"]}).plan
    rows = {
        0: Standing(status=StepStatus.FAILED, attempt=1, out_edges="0", undecided=0, live=1),
        1: Standing(status=StepStatus.SKIPPED, attempt=0, out_edges=None, undecided=1, live=0),
        2: Standing(status=StepStatus.FAILED, attempt=1, out_edges="", undecided=0, live=1),
    }
    found = rewind(plan, rows, again=(2,))
    assert [(move.no, move.undecided, move.live) for move in found.moves] == [(2, 0, 0), (1, 1, 0)]
    assert [(d.target, d.decided, d.live) for d in found.decisions] == [(2, 0, 1), (1, 1, 0)]
