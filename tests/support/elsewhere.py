"""Foreign tasks without a broker: what was sent, what came of it, what was revoked; and how it can break."""

from dataclasses import dataclass, field

from models.errors import UnavailableError
from orchestrator.ports import ForeignCall, ForeignError, ForeignValue


@dataclass(slots=True)
class Elsewhere:
    """`ports.ForeignTasks` in memory. `results` are by task id; `away`: broker and backend do not answer."""

    sent: list[ForeignCall] = field(default_factory=list)
    results: dict[str, ForeignValue | ForeignError] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    away: bool = False

    def send(self, call: ForeignCall) -> None:
        self._reach()
        self.sent.append(call)

    def result(self, task_id: str) -> ForeignValue | ForeignError | None:
        self._reach()
        self.looked.append(task_id)
        return self.results.get(task_id)

    def forget(self, task_id: str) -> None:
        self._reach()
        del self.results[task_id]

    def revoke(self, task_id: str) -> None:
        self._reach()
        self.revoked.append(task_id)

    def _reach(self) -> None:
        if self.away:
            raise UnavailableError("elsewhere does not answer")
