"""What a hub reads, told by a test: of one run, with no journal."""

from collections.abc import Mapping
from typing import Any

from orchestrator.services.watching import Picked, Place, ToldPage


class OneRun:
    """Answers for several runs from what the subclass answers for one."""

    def events(self, run_id: str, *, after: int, upto: int, limit: int) -> list[dict[str, Any]]:
        raise NotImplementedError

    def fresh(self, spans: Mapping[str, tuple[int, int]], limit: int) -> list[dict[str, Any]]:
        ((run_id, (after, upto)),) = spans.items()
        return self.events(run_id, after=after, upto=upto, limit=limit)

    def journal_end(self) -> Place:
        raise NotImplementedError

    def journal(self, after: Place, limit: int, picked: Picked | None = None) -> ToldPage:
        raise NotImplementedError
