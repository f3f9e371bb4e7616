"""The durable examples on an engine: a run of one, what people and others say to it, what the outside has seen."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from examples.outside import Outside
from models.database import Database
from orchestrator.core.agent_answer import read
from orchestrator.core.document import Limits, parse
from orchestrator.core.people import Verdict
from orchestrator.services import runs
from orchestrator.settings import Settings
from tests.support import attempts
from tests.support.desk import Office, office
from tests.support.engine import Engine
from tests.support.office import inbox, signal_key, swept, vote
from tests.support.probes import Clock, ends
from tests.support.programs import ROOT

CASE = "c-1"
NAMES = ("dd-room", "geographic-expansion", "ma-offer", "partner-approval", "pmi-program", "signature")
SETTINGS = Settings(secret_key="a key for tests alone", http_allow=("127.0.0.1",))
INPUTS: dict[str, dict[str, Any]] = {
    "dd-room": {"target": {"id": "t-1", "name": "Acme", "email": "ceo@acme.example"}},
    "geographic-expansion": {"country": "SA", "partner": "Riyadh Sales"},
    "ma-offer": {"target": {"name": "Acme", "country": "DE"}},
    "partner-approval": {"partner": {"name": "Acme", "email": "ada@acme.example", "phone": "+49 30 1"}},
    "pmi-program": {"acquired": "Acme"},
    "signature": {"deal": "d-1", "terms": {"price": 7}, "signer": {"name": "Ada", "email": "ada@acme.example"}},
}


def text_of(name: str) -> str:
    return (ROOT / "examples" / f"{name}.yaml").read_text()


def inputs_of(name: str, outside: Outside, case: str = CASE) -> dict[str, Any]:
    return {"services": outside.url, "case": case, **INPUTS[name]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run of an example, carried in this process, on a clock that the test moves."""

    outside: Outside
    office: Office
    clock: Clock
    run_id: str

    @property
    def engine(self) -> Engine:
        return self.office.engine

    def approve(self, step: str, data: Any = None, *, by: tuple[str, ...] = ("ada",)) -> None:
        for name in by:
            self._vote(step, Verdict.APPROVED, by=name, data=data)

    def reject(self, step: str) -> None:
        self._vote(step, Verdict.REJECTED, by="eve")

    def signal(self, name: str, key: str, data: Any) -> None:
        signal_key(self.engine, name, key, data)

    def resume(self, given: dict[str, Any]) -> None:
        self.engine.send(runs.resume(self.engine.deps, self.engine.actor, self.run_id, given))
        self.engine.drain()

    def passes(self, days: float) -> None:
        """So many days pass, and the sweeps come by."""
        self.clock.now += days * 86_400 + 60
        swept(self.engine)

    def error(self) -> tuple[str, str]:
        """The run's: its code, and the step."""
        error = self.engine.row(self.run_id).error
        return error["code"], error["step"]

    def succeeds(self) -> dict[str, Any]:
        """The run ends well, nothing was undone and nothing done twice; its outputs."""
        ends(self.engine, self.run_id, "success")
        assert self._undone() == []
        self._once_each()
        outputs: dict[str, Any] = self.engine.data(self.run_id).outputs
        return outputs

    def undoes(self, *calls: str) -> None:
        """The run ends compensated: these calls alone undid it, in this order.

        That is the order of completion, reversed, each under the key of what it undoes.
        """
        ends(self.engine, self.run_id, "compensated")
        assert [str(call) for call in self._undone()] == list(calls)
        undoing = {call.key.removesuffix(":compensate") for call in self._undone()}
        done = [key for key in self._completed() if key in undoing]
        assert [call.key for call in self._undone()] == [f"{key}:compensate" for key in reversed(done)]
        self._once_each()

    def _vote(self, step: str, verdict: Verdict, **sent: Any) -> None:
        (asked,) = [row for row in inbox(self.engine, run=self.run_id) if row["step"] == step]
        vote(self.engine, asked["id"], verdict, **sent)

    def _undone(self) -> list[Any]:
        return [call for call in self.outside.calls if call.key.endswith(":compensate")]

    def _completed(self) -> list[str]:
        """The keys of the steps that have completed, in that order."""
        events = attempts.events(self.engine, self.run_id)
        paths = [event.step for event in events if event.type == "step.completed" and event.step is not None]
        return [str(attempts.step(self.engine, self.run_id, path).idempotency_key) for path in paths]

    def _once_each(self) -> None:
        assert self.outside.repeats == []
        assert set(Counter(call.key for call in self.outside.calls).values()) == {1}


def start(database: Database, outside: Outside, name: str, **inputs: Any) -> Case:
    """A run of an example, carried as far as it goes by itself."""
    clock = Clock()
    definition = parse(text_of(name), media="yaml", limits=Limits()).data
    ours = office(
        database,
        clock=clock,
        settings=SETTINGS,
        does=lambda request: read(None, outside.say(request.task.tags)),
    )
    ours.engine.publish(definition)
    gateway = ours.gateway()
    for role in ("analyst", "writer"):
        ours.agent(role, gateway, role=role)
    run_id = ours.engine.run(name, inputs=inputs_of(name, outside) | inputs)
    return Case(outside=outside, office=ours, clock=clock, run_id=run_id)
