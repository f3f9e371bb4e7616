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
class Pairs:
    """A shape's repeats in two ways, in pairs that were run one after the other."""

    title: str
    first: Sequence[Measured]
    second: Sequence[Measured]

    @property
    def time_ratio(self) -> float:
        """The second way's time against the first's: the median of the pairs'."""
        return median(two.seconds / one.seconds for one, two in self._pairs())

    @property
    def rate_ratio(self) -> float:
        """The second way's steps a second against the first's: the median of the pairs'."""
        return median(two.rate / one.rate for one, two in self._pairs())

    def _pairs(self) -> list[tuple[Measured, Measured]]:
        return list(zip(self.first, self.second, strict=True))


def seconds(many: Sequence[Measured]) -> float:
    return median(one.seconds for one in many)


def rate(many: Sequence[Measured]) -> float:
    return median(one.rate for one in many)


def cpu_ms(many: Sequence[Measured]) -> float:
    return median(one.cpu_ms for one in many)


def latency(many: Sequence[Measured]) -> str:
    """The medians of p50 and p95, in ms."""
    if not many or not many[0].latencies:
        return "–"
    values = (median(one.latency_ms(share) or 0.0 for one in many) for share in (0.5, 0.95))
    return " / ".join(f"{value:.1f}" for value in values)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
