"""The durable examples through the death of everything: parked, killed, started again, and brought to their ends."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.outside import Outside, hire
from models.states import RUN_TERMINAL
from orchestrator.client import Client
from orchestrator.client.answers import Approval
from orchestrator.core.document import Limits, parse
from tests.support.durable import NAMES, inputs_of, text_of
from tests.support.polling import poll
from tests.support.up import Up

pytestmark = [pytest.mark.crash, pytest.mark.timeout(290)]
# What each waits for when everything dies.
PARKED = {
    "dd-room": {f"workstreams[{branch}]/complete" for branch in range(5)},
    "geographic-expansion": {"licence"},
    "ma-offer": {"board"},
    "partner-approval": {"manager"},
    "pmi-program": {"phases[0]/gate"},
    "signature": {"approve"},
}
# The same steps, with days that are shorter.
VARIABLES: dict[str, dict[str, Any]] = {
    "geographic-expansion": {"bake": "1s", "settle": "1s", "stages": [{"from": 5, "to": 100}]},
    "pmi-program": {
        "phases": [
            {"gate": "Day 1", "wait": "1s", "changes": [{"system": "hr", "what": "x"}, {"system": "it", "what": "y"}]},
            {"gate": "Day 30", "wait": "1s", "changes": [{"system": "crm", "what": "z"}]},
        ]
    },
}
FORMS: dict[str, Any] = {
    "manager": {"most_revenue_share": 30},
    "approve": {"token": "token-7"},
    "board": {"ceiling": 60},
    "committee": {"price": 45},
}
SIGNALS: dict[str, dict[str, Any]] = {
    "geographic-expansion": {"application.decided": {"granted": True, "number": "L-7"}},
    "ma-offer": {"offer.answered": {"answer": "accept"}, "filing.decided": {"cleared": True}},
    "partner-approval": {"partner.answered": {"answer": "accept"}},
    "signature": {"envelope.ended": {"status": "completed"}},
}


class Stack:
    """A stack under `orchestrator up`, its client, and people with keys of their own."""

    def __init__(self, up: Up, outside: Outside) -> None:
        self.up = up
        url = up.ready()
        self.client = Client(url, api_key=(up.data_dir / "admin.key").read_text())
        hire(self.client, outside)
        names = ("ada", "bob", "cyd")
        keys = [self.client.keys.create(name, ["read", "operate"])["key"] for name in names]
        self._people = [Client(url, api_key=key) for key in keys]

    def start(self, name: str, outside: Outside, case: str) -> str:
        given = inputs_of(name, outside, case)
        if name == "signature":
            given["deal"] = case  # one run a deal, and
        if name == "geographic-expansion":
            given["country"] = case[0].upper() * 2  # one a country at once
        return self.client.runs.start(name, given, variables=VARIABLES.get(name))["id"]

    def asked(self, run: str) -> list[Approval]:
        return list(self.client.approvals.list(run=run))

    def waiting(self, run: str) -> set[str]:
        containers = ("loop", "parallel")
        steps = self.client.runs.steps(run)
        return {step["path"] for step in steps if step["status"] == "waiting" and step["type"] not in containers}

    def say_yes(self, run: str) -> bool:
        """Whoever is asked approves, who paused resumes; whether the run has ended."""
        status = self.client.runs.get(run)["status"]
        if status == "paused":
            self.client.runs.resume(run, input={"verdict": "go"})
        for asked in self.asked(run):
            for person in self._people[: asked["required"]]:
                person.approvals.approve(asked["id"], FORMS.get(asked["step"].rpartition("/")[2]))
        return status in RUN_TERMINAL

    def say_no(self, run: str, name: str) -> None:
        if name == "geographic-expansion":
            self.client.runs.signal(run, "application.decided", {"granted": False})
        else:
            self._people[0].approvals.reject(self.asked(run)[0]["id"])

    def told(self, run: str, kind: str) -> list[str]:
        """The steps of the events of a kind, in order."""
        return [event["step"] for event in self.client.runs.log(run) if event["type"] == kind]


@pytest.fixture
def stacks(tmp_path: Path, outside: Outside) -> Iterator[Any]:
    started: list[Up] = []

    def start() -> Stack:
        for before in started:
            before.end()
        started.append(Up(tmp_path / "data", ORCHESTRATOR_HTTP_ALLOW="127.0.0.1"))
        return Stack(started[-1], outside)

    yield start
    for each in started[-1:]:
        each.end()


def test_parked_killed_and_brought_to_their_ends(stacks: Any, outside: Outside) -> None:
    stack = stacks()
    for name in NAMES:
        stack.client.workflows.create(text_of(name))
    yes = {name: stack.start(name, outside, f"yes-{name}") for name in NAMES}
    no = {name: stack.start(name, outside, f"no-{name}") for name in NAMES}
    parked = [(run, PARKED[name]) for runs in (yes, no) for name, run in runs.items()]
    poll(lambda: all(stack.waiting(run) == steps for run, steps in parked), 120, "all of them, parked")
    for name, signals in SIGNALS.items():
        if name != "geographic-expansion":  # that one waits for its signal, and is to be parked
            for signal, data in signals.items():
                stack.client.runs.signal(yes[name], signal, data)

    stack = stacks()  # kill -9 of everything that ran

    for name in NAMES:
        assert stack.waiting(yes[name]) == PARKED[name]
        stack.say_no(no[name], name)
    stack.client.runs.signal(
        yes["geographic-expansion"], "application.decided", {"granted": True, "number": "L-7"}
    )
    poll(lambda: sum(map(stack.say_yes, yes.values())) == len(yes), 120, "the end of what is approved")
    for name in NAMES:
        assert stack.client.runs.get(yes[name])["status"] == "success"
        assert stack.client.runs.wait(no[name], timeout=60)["status"] == "compensated"
        assert_undone(stack, outside, name, no[name])
    assert not [call for call in outside.calls if call.key.startswith("yes") and call.key.endswith(":compensate")]
    assert outside.repeats == []
    assert set(Counter(call.key for call in outside.calls).values()) == {1}
    assert json.loads(stack.up.command("fsck", "--json").stdout) == {"ok": True, "violations": []}


def assert_undone(stack: Stack, outside: Outside, name: str, run: str) -> None:
    """The run's compensated steps are those with a compensation, backwards; so the outside has seen it."""
    undone = stack.told(run, "step.compensated")
    done = [path for path in stack.told(run, "step.completed") if not path.endswith(":compensate")]
    nodes = {node["id"]: node for node in nodes_of(parse(text_of(name), media="yaml", limits=Limits()).data)}
    given = {path: nodes[path.rpartition("/")[2].partition("[")[0]].get("compensate", {}) for path in done}
    assert undone == [path for path in reversed(done) if given[path].get("type") in ("http", "agent")]
    assert undone
    case = f"no-{name}"
    keys = [key_of(nodes, path, case) for path in undone if given[path]["type"] == "http"]
    mine = [call.key for call in outside.calls if call.key.startswith(f"{case}-")]
    assert [key for key in mine if key.endswith(":compensate")] == [f"{key}:compensate" for key in keys]


def nodes_of(scope: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The nodes of a definition, those of its bodies too."""
    for node in scope["nodes"]:
        yield node
        if "body" in node:
            yield from nodes_of(node["body"])


def key_of(nodes: dict[str, Any], path: str, case: str) -> str:
    """The idempotency key of a step; in a body the path is added."""
    written: str = nodes[path.rpartition("/")[2]]["idempotency_key"]
    return written.replace("{{inputs.case}}", case) + (f":{path}" if "/" in path else "")
