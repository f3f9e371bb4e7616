"""Parts for handlers under test that lead nowhere."""

from models.errors import OrchestratorError
from orchestrator.core.outcome import Cancelled, Outcome
from orchestrator.core.routing import Wanted
from orchestrator.ports import HttpRequest, Parked, StepContext, Task


class Nowhere:
    """Agents and a way out that lead nowhere: every attempt was given up before it began."""

    def dispatch(self, ctx: StepContext, wanted: Wanted, task: Task, session: str) -> Outcome:
        return Cancelled()

    def answer(self, parked: Parked) -> None:
        return None

    def stop(self, run_id: str, no: int, attempt: int) -> None:
        raise OrchestratorError(f"attempt {attempt} of step {no} of run {run_id} was sent nowhere")

    def send(self, request: HttpRequest) -> Cancelled:
        return Cancelled()

    def refusal(self, url: str, seconds: float) -> str | None:
        return f"{url} leads nowhere"

    def close(self) -> None: ...
