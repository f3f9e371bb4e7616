"""What a sweep says of itself."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from models.database import OUTAGES
from orchestrator.core.effects import Effect
from orchestrator.services.deps import Deps

_log = structlog.get_logger(__name__)
BATCH = 500
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did: effects to send, and whether more is left than it took."""

    effects: tuple[Effect, ...] = ()
    found: int = 0

    @property
    def more(self) -> bool:
        return self.found >= BATCH


def each(deps: Deps, found: Iterable[T], act: Callable[[Deps, T], tuple[Effect, ...]]) -> tuple[Effect, ...]:
    """What follows for each that was found; one that cannot be dealt with holds up no other."""
    effects: list[Effect] = []
    for item in found:
        try:
            effects += act(deps, item)
        except OUTAGES:
            raise
        except Exception:
            _log.exception("passed over by a sweep", item=item)
    return tuple(effects)
