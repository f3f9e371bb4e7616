"""The figures of a schedule, as one table, and what failed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.faults.books import Books
from tests.faults.plan import Kind, Plan
from tests.faults.recovery import Interrupted
from tests.faults.verdict import BACK_SECONDS, END_SECONDS, REPEATED, Finding
from tests.faults.wounds import Record

_OF_WORKERS = (Kind.WORKER, Kind.CONTROL, Kind.POOL_CHILD, Kind.ZOMBIE)
_MUST_BE_0 = (
    "not accepted",
    "not healed",
    "lost",
    "stuck",
    "doubled runs",
    "wrong ends",
    "violations",
    "doubled effects",
    "too many repeats",
    "late returns",
    "late ends",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that is to be told; `findings` empty: passed."""

    plan: Plan
    record: Record
    books: Books
    effects: dict[str, Any]
    returns: Sequence[Interrupted]
    agents_again: int
    unanswered: Counter[str]
    seconds_to_end: float
    findings: Sequence[Finding]

    def __str__(self) -> str:
        return "\n".join([*self._head(), "", *self._by_kind(), "", *self._figures(), "", *self._judged()])

    def _head(self) -> Iterator[str]:
        plan, faults = self.plan, len(self.record.wounds)
        yield f"Fault schedule: seed {plan.seed}, {plan.seconds:g} s, {faults} faults, {plan.runs} runs"

    def _by_kind(self) -> Iterator[str]:
        yield f"{'fault':<34}{'number':>7}{'seconds to heal':>20}{'steps':>8}{'seconds to return':>20}"
        yield f"{'':<34}{'':>7}{'median':>11}{'most':>9}{'hit':>8}{'median':>11}{'most':>9}"
        for kind in Kind:
            healed = [wound.seconds for wound in self.record.wounds if wound.kind is kind]
            back = [step.seconds for step in self.returns if step.kind is kind]
            hit = len(back) if kind in _OF_WORKERS else "–"
            yield f"{kind:<34}{len(healed):>7}{_spread(healed)}{hit:>8}{_spread(back)}"

    def _figures(self) -> Iterator[str]:
        events, repeats = self.books.events, sum(self.effects["repeats"].values())
        steps = self.books.steps
        for name, value in (
            ("runs in all, with those that runs called", len(self.books.runs)),
            ("steps", steps),
            ("attempts lost: with their worker, or no database", events["step.lease_expired"]),
            ("results fenced out", events["step.fenced"]),
            ("retries", events["step.retrying"]),
            ("effects at the server outside", self.effects["effects"]),
            ("effects called again, same key", f"{repeats} ({repeats / max(1, steps):.2%}; below {REPEATED:.0%})"),
            ("work of agents done again after a loss", self.agents_again),
            ("runs failed by poison", len(self.books.poisoned)),
            ("faults spared, a step was hit twice already", self.record.spared),
            ("calls of the API without an answer", _counted(self.unanswered)),
            (f"last run ended after the last heal (at most {END_SECONDS:g} s)", f"{self.seconds_to_end:.1f} s"),
            ("limit of a step's return", f"{BACK_SECONDS:g} s"),
        ):
            yield f"{name:<56}{value:>12}" if not isinstance(value, str) else f"{name:<56}{value}"

    def _judged(self) -> Iterator[str]:
        counts = Counter(found.kind for found in self.findings)
        yield ", ".join(f"{name} {counts[name]}" for name in _MUST_BE_0)
        for found in self.findings[:50]:
            yield f"  {found.kind}: run {found.run_id}: {found.message}"
        yield "FAILED" if self.findings else "PASSED"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):>11.1f}{max(values):>9.1f}" if values else f"{'–':>11}{'–':>9}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())) or "0"
