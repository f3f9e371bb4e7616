"""What goes wrong in one seed, and how often."""

from dataclasses import dataclass, replace
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities; `delay` is the mean seconds that a message takes, `interval` those between sweeps.

    lose, double: of a message. refuse: of a publish. kill: at each commit and each send. freeze: of a body, for
    longer than its lease. give_back: of a body that its worker gives up. miss: of a sweep. batch: of steps that
    became ready together, that they travel together as cheap ones do; no fault.
    """

    lose: float
    double: float
    delay: float
    refuse: float
    kill: float
    freeze: float
    give_back: float
    miss: float
    interval: float
    operator: bool
    batch: float

    @classmethod
    def draw(cls, random: Random) -> "Faults":
        def some(most: float) -> float:
            return random.choice((0.0, random.random() * most))

        return cls(
            lose=some(0.4),
            double=some(0.4),
            delay=random.choice((0.01, 0.2, 2.0)),
            refuse=some(0.2),
            kill=some(0.06),
            freeze=some(0.15),
            give_back=some(0.1),
            miss=some(0.7),
            interval=random.choice((2.0, 4.0, 6.0)),
            operator=random.random() < 0.3,
            batch=some(0.8),
        )

    def healed(self) -> "Faults":
        """The same world once everything works again; nobody interferes any more."""
        return replace(
            self,
            lose=0.0,
            double=0.0,
            delay=0.01,
            refuse=0.0,
            kill=0.0,
            freeze=0.0,
            give_back=0.0,
            miss=0.0,
            operator=False,
        )
