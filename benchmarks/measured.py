"""What one run of a shape gives, and the middle of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds from the trigger to the last step's end; CPU seconds of workers, database, broker; latencies from
    the end of a step's last predecessor to the start of its body, in seconds, none where they are not known."""

    steps: int
    seconds: float
    cpu: float
    latencies: Sequence[float] = ()

    @property
    def rate(self) -> float:
        return self.steps / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1_000 * self.cpu / self.steps

    def latency_ms(self, share: float) -> float | None:
        """The latency that this share of the steps keeps below."""
        ordered = sorted(self.latencies)
        return 1_000 * ordered[int(share * (len(ordered) - 1))] if ordered else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A shape's repeats, ours and Celery's in pairs that were run one after the other."""

    title: str
    ours: Sequence[Measured]
    bare: Sequence[Measured]

    def row(self) -> tuple[str, ...]:
        ratios = [own.rate / other.rate for own, other in zip(self.ours, self.bare, strict=True)]
        return (
            self.title,
            f"{median(m.rate for m in self.bare):.0f}",
            f"{median(m.rate for m in self.ours):.0f}",
            f"{median(ratios):.2f}" if ratios else "–",
            f"{median(m.cpu_ms for m in self.bare):.2f}",
            f"{median(m.cpu_ms for m in self.ours):.2f}",
            _middle(self.bare),
            _middle(self.ours),
        )


HEADINGS = (
    "workload", "bare Celery, steps/s", "ours, steps/s", "ratio", "bare, CPU ms a step", "ours, CPU ms a step",
    "bare, latency p50 / p95 ms", "ours, latency p50 / p95 ms",
)  # fmt: skip


def _middle(many: Sequence[Measured]) -> str:
    if not many or not many[0].latencies:
        return "–"
    values = (median(m.latency_ms(share) or 0.0 for m in many) for share in (0.5, 0.95))
    return " / ".join(f"{value:.1f}" for value in values)


def table(rows: Sequence[Compared]) -> str:
    """A Markdown table."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(row.row() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
