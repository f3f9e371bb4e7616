"""A run as a test sees it, and what people and operators do to it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.core.people import Verdict
from orchestrator.services import (
    approval_views,
    approvals,
    control,
    overriding,
    run_views,
    runs,
    signals,
    variables,
)
from orchestrator.services.approval_views import ApprovalFilter
from orchestrator.services.paging import PageRequest
from orchestrator.services.reaching import Wanted
from orchestrator.services.signals import Sent
from orchestrator.testing.outcomes import Call
from orchestrator.testing.stage import names_of

if TYPE_CHECKING:
    from orchestrator.testing.env import Env

_PAGE = 1_000
_TESTER = "tester"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step, as `GET /api/runs/{run}/steps/{path}` shows it; `attempts` counts them."""

    path: str
    node: str
    type: str
    status: str
    attempts: int
    route: str | None
    input: dict[str, Any] | None
    output: Any
    error: dict[str, Any] | None
    cost_microcents: int
    waiting_for: str | None
    started_at: str | None
    finished_at: str | None


_SHOWN = tuple(field.name for field in fields(Step))


class Run:
    """A run of an `Env`. What is read is read anew each time; each act goes on until nothing is left to do."""

    def __init__(self, env: "Env", run_id: str) -> None:
        self.env = env
        self.id = run_id

    def __repr__(self) -> str:
        return f"<Run {self._view()['workflow']} {self.status}, waiting for {self.waiting}>"

    def _view(self) -> dict[str, Any]:
        return run_views.run(self.env.deps, self.env.actor(), self.id)

    @property
    def status(self) -> str:
        return str(self._view()["status"])

    @property
    def outputs(self) -> Any:
        """The run's outputs; None unless it succeeded."""
        return self._view()["outputs"]

    @property
    def variables(self) -> dict[str, Any]:
        return dict(self._view()["variables"])

    @property
    def error(self) -> dict[str, Any] | None:
        """{code, message, step} of a run that failed or was aborted."""
        return self._view()["error"]  # type: ignore[no-any-return]

    @property
    def cost_cents(self) -> float:
        return float(self._view()["cost_microcents"]) / runs.MICROCENTS

    @property
    def steps(self) -> dict[str, Step]:
        """Every step by its path, in the order of the plan."""
        found = pages(partial(run_views.steps, self.env.deps, self.env.actor(), self.id))
        return {each["path"]: Step(**{name: each[name] for name in _SHOWN}) for each in found}

    @property
    def waiting(self) -> list[str]:
        """The paths of steps that wait for a person, a signal or a time; not those that wait for other steps."""
        types = self.env.deps.types
        inner = {name for name, found in types.items() if found.container or found.calls}
        return [path for path, step in self.steps.items() if step.status == "waiting" and step.type not in inner]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The run's log: {seq, type, step?, at, actor?, data}."""
        read = partial(run_views.events, self.env.deps, self.env.actor(), self.id, after=0)
        return pages(lambda request: read(request=request))

    def calls(self, name: str) -> list[Call]:
        """The attempts that reached a mock, by the step's path, or by its node's name."""
        return [call for call in self.env.calls if call.run_id == self.id and name in names_of(call.path)]

    def called(self, step: str) -> "Run":
        """The run that a `subworkflow` step called last."""
        view = run_views.step(self.env.deps, self.env.actor(), self.id, step)
        if view.get("called_run_id") is None:
            raise AssertionError(f"step {step!r} has called no run; it is {view['status']}")
        return Run(self.env, view["called_run_id"])

    def approve(
        self, step: str | None = None, *, data: Any = None, comment: str | None = None, by: str = _TESTER
    ) -> "Run":
        """Vote for the approval of a step, or for the only one that is open; each name has one vote."""
        return self._vote(Verdict.APPROVED, step, data, comment, by)

    def reject(
        self, step: str | None = None, *, data: Any = None, comment: str | None = None, by: str = _TESTER
    ) -> "Run":
        """Vote against it."""
        return self._vote(Verdict.REJECTED, step, data, comment, by)

    def _vote(self, verdict: Verdict, step: str | None, data: Any, comment: str | None, by: str) -> "Run":
        approval = self._approval(step)
        actor = self.env.actor(by)
        voted = approvals.vote(self.env.deps, actor, approval, verdict, comment=comment, data=data)
        return self._sent(voted.effects)

    def _approval(self, step: str | None) -> str:
        wanted = ApprovalFilter(status="pending", run=self.id)
        read = partial(approval_views.page, self.env.deps, self.env.actor(), wanted)
        open_ = [each for each in pages(read) if step is None or each["step"] == step]
        if len(open_) != 1:
            what = "approval" if step is None else f"approval of step {step!r}"
            raise AssertionError(
                f"{len(open_)} times an {what} is open in this run; it is {self.status} and waits for {self.waiting}"
            )
        return str(open_[0]["id"])

    def signal(self, signal: str, data: Any = None, *, id: str | None = None, by: str = _TESTER) -> "Run":
        """Signal the run; `id`: the sender's own number of the signal."""
        sent = Sent(signal=signal, data=data, id=id)
        return self._sent(signals.to_run(self.env.deps, self.env.actor(by), self.id, sent))

    def pause(self, reason: str = "", *, by: str = _TESTER) -> "Run":
        return self._sent(runs.pause(self.env.deps, self.env.actor(by), self.id, reason))

    def resume(
        self, input: Mapping[str, Any] | None = None, *, limit_cents: int | None = None, by: str = _TESTER
    ) -> "Run":
        """Resume a paused run; `input` completes the step that paused it, `limit_cents` raises its budget."""
        budget = None if limit_cents is None else {"limit_cents": limit_cents}
        given = None if input is None else dict(input)
        return self._sent(runs.resume(self.env.deps, self.env.actor(by), self.id, given, budget))

    def abort(self, reason: str = "", *, by: str = _TESTER, **options: Any) -> "Run":
        """Abort the run; `options` are those of the API's call."""
        return self._sent(runs.abort(self.env.deps, self.env.actor(by), self.id, reason, **options))

    def retry(self, step: str, *, reason: str = "", limit_cents: int | None = None, by: str = _TESTER) -> "Run":
        """Try a failed step again."""
        return self._act(control.retry, step, reason, by, limit_cents)

    def skip(self, step: str, *, reason: str = "", limit_cents: int | None = None, by: str = _TESTER) -> "Run":
        """Skip a step that has failed, waits or has not begun. Time is skipped by `Env.skip`."""
        return self._act(control.skip, step, reason, by, limit_cents)

    def rerun(self, step: str, *, reason: str = "", limit_cents: int | None = None, by: str = _TESTER) -> "Run":
        """Do an ended step and all behind it anew."""
        return self._act(control.rerun, step, reason, by, limit_cents)

    def complete(
        self, step: str, output: Any, *, reason: str = "", limit_cents: int | None = None, by: str = _TESTER
    ) -> "Run":
        """Let a failed or waiting step succeed with an output."""
        return self._act(control.complete, step, reason, by, limit_cents, output)

    def override(self, step: str, given: Mapping[str, Any], *, reason: str = "", by: str = _TESTER) -> "Run":
        """Lay {timeout?: seconds, retry?} over what holds for a step's next attempts."""
        return self._act(overriding.override, step, reason, by, None, dict(given))

    def set(self, values: Mapping[str, Any], *, reason: str = "", by: str = _TESTER) -> "Run":
        """Set variables: steps that start after it see them."""
        variables.update(self.env.deps, self.env.actor(by), self.id, dict(values), reason)
        return self._sent(())

    def _act(self, act: Any, step: str, reason: str, by: str, limit: int | None, *given: Any) -> "Run":
        wanted = Wanted(run_id=self.id, path=step, reason=reason, limit_cents=limit)
        return self._sent(act(self.env.deps, self.env.actor(by), wanted, *given))

    def _sent(self, effects: Any) -> "Run":
        self.env.hand.send(effects)
        self.env.hand.settle()
        return self


def pages(read: Any) -> list[dict[str, Any]]:
    """All items of a list that a service gives by pages."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = read(PageRequest(limit=_PAGE, cursor=cursor))
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
