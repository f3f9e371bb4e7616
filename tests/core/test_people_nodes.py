"""What a definition may say of waits, approvals, signals and pauses, and the class that they make."""

from typing import Any

import pytest

from orchestrator.core import durations, moments, people
from orchestrator.core.mermaid import draw
from orchestrator.core.people import Verdict, Vote
from tests.support.definitions import TYPES, compiled, noop, problems, workflow, wrong

ASK = {"id": "ask", "type": "approval"}
SIGN = {"id": "sign", "type": "signal", "signal": "signed"}
WAIT = {"id": "wait", "type": "wait"}
STOP = {"id": "stop", "type": "pause"}


@pytest.mark.parametrize(
    "node",
    [
        ASK,
        {**ASK, "title": "{{inputs.t}}", "form": {"type": "object"}, "assignees": ["a", "b"], "required": 2},
        {**ASK, "assignees": "{{inputs.who}}", "required": 3, "expires": "{{inputs.days}}d"},
        *({**ASK, "expires": "7d", "on_expiry": word} for word in ("reject", "approve", "fail")),
        {**SIGN, "key": "{{inputs.id}}", "schema": True, "expires": 60},
        {**SIGN, "key": 7},
        {**WAIT, "duration": "14d"},
        {**WAIT, "duration": "{{inputs.d}}"},
        {**WAIT, "until": "2026-01-31T08:00:00+01:00"},
        {**WAIT, "until": "{{inputs.at}}"},
        {**WAIT, "until": 1_800_000_000},
        STOP,
        {**STOP, "reason": "ask {{inputs.who}}", "expected_input": {"type": "object"}},
    ],
)
def test_what_is_taken(node: dict[str, Any]) -> None:
    compiled(workflow(node))


@pytest.mark.parametrize(
    ("node", "pointer", "code"),
    [
        ({**ASK, "form": {"type": "objekt"}}, "/form", "INVALID_SCHEMA"),
        ({**ASK, "form": "{{inputs.form}}"}, "/form", "INVALID_TYPE"),
        ({**ASK, "assignees": ["a", "a"]}, "/assignees", "INVALID_VALUE"),
        ({**ASK, "assignees": "ada"}, "/assignees", "INVALID_VALUE"),
        ({**ASK, "assignees": ["a"], "required": 2}, "/required", "INVALID_VALUE"),
        ({**ASK, "required": 0}, "/required", "INVALID_VALUE"),
        ({**ASK, "required": "2"}, "/required", "INVALID_TYPE"),
        ({**ASK, "expires": "soon"}, "/expires", "INVALID_DURATION"),
        ({**ASK, "expires": 0}, "/expires", "INVALID_DURATION"),
        ({**ASK, "on_expiry": "ignore"}, "/on_expiry", "INVALID_VALUE"),
        ({**ASK, "title": "{{env.X}}"}, "/title", "UNRESOLVED_REFERENCE"),
        ({**ASK, "titel": "x"}, "/titel", "UNKNOWN_FIELD"),
        ({"id": "sign", "type": "signal"}, "/signal", "MISSING_FIELD"),
        ({**SIGN, "schema": {"type": 1}}, "/schema", "INVALID_SCHEMA"),
        (WAIT, "/duration", "MISSING_FIELD"),
        ({**WAIT, "duration": "1d", "until": 1}, "/until", "INVALID_VALUE"),
        ({**WAIT, "until": "tomorrow"}, "/until", "INVALID_VALUE"),
        ({**WAIT, "until": "2026-01-31T08:00:00"}, "/until", "INVALID_VALUE"),
        ({**WAIT, "duration": "{{nope.x}}"}, "/duration", "UNRESOLVED_REFERENCE"),
        ({**STOP, "expected_input": {"type": "nothing"}}, "/expected_input", "INVALID_SCHEMA"),
    ],
)
def test_what_is_refused(node: dict[str, Any], pointer: str, code: str) -> None:
    assert wrong(workflow(node)) == [(f"/nodes/0{pointer}", code)]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (ASK, "long"),
        ({**ASK, "expires": "1m"}, "long"),
        (STOP, "long"),
        (SIGN, "long"),
        ({**SIGN, "expires": "1d"}, "long"),
        ({**SIGN, "expires": "1h"}, "medium"),
        ({**SIGN, "expires": "{{inputs.e}}"}, "medium"),
        ({**WAIT, "duration": "5s"}, "short"),
        ({**WAIT, "duration": "30s"}, "medium"),
        ({**WAIT, "duration": "1d"}, "long"),
        ({**WAIT, "until": "{{inputs.at}}"}, "medium"),
    ],
)
def test_the_class(node: dict[str, Any], expected: str) -> None:
    found = compiled(workflow(node)).classification
    assert found["class"] == expected, found


def test_what_a_pause_for_people_makes_long_needs_keys_and_compensation() -> None:
    paying = noop("pay", side_effects="external")
    found = problems(workflow(ASK, paying, edges=["ask >> pay"]))
    assert {(p.pointer, p.code) for p in found} == {
        ("/nodes/1/idempotency_key", "LONG_WITHOUT_COMPENSATION"),
        ("/nodes/1/compensate", "LONG_WITHOUT_COMPENSATION"),
    }


def test_they_cost_nothing_and_are_no_members_of_chords() -> None:
    nodes = (ASK, SIGN, {**WAIT, "duration": 1}, STOP, noop("all"))
    found = compiled(workflow(*nodes, edges=["[ask, sign, wait, stop] >> all"]))
    assert found.estimated_cost_cents == 0
    assert not any(node.slow for node in found.plan.nodes)


def test_their_shapes() -> None:
    drawn = draw(compiled(workflow(ASK, SIGN, {**WAIT, "duration": 1}, STOP)).plan, TYPES)
    assert 'ask@{ shape: manual-input, label: "ask<br/>approval" }' in drawn
    assert 'stop((("stop<br/>pause")))' in drawn
    assert 'wait("wait<br/>wait")' in drawn
    assert 'sign["sign<br/>signal"]' in drawn


@pytest.mark.parametrize("value", [None, True, "x", [], "2026-01-01", -1, float("nan"), float("inf"), 1e12])
def test_what_is_no_moment(value: Any) -> None:
    assert moments.seconds(value) is None


def test_moments() -> None:
    assert moments.seconds("1970-01-02T00:00:00Z") == moments.seconds(86_400) == durations.seconds("1d")


def votes(*decisions: Verdict) -> list[Vote]:
    return [Vote(name=f"v{n}", decision=decision, data={"n": n}) for n, decision in enumerate(decisions)]


def test_what_votes_come_to() -> None:
    yes, no = Verdict.APPROVED, Verdict.REJECTED
    assert people.verdict([], 1) is None
    assert people.verdict(votes(yes), 2) is None
    assert people.verdict(votes(yes, yes), 2) is yes
    assert people.verdict(votes(no), 2) is people.verdict(votes(yes, no), 2) is no
    assert people.decided(votes(yes, yes), yes) == {"decision": "approved", "data": {"n": 1}, "by": ["v0", "v1"]}
    odd = [Vote(name="a", decision=yes, data=7), Vote(name="b", decision=yes)]
    assert people.decided(odd, yes)["data"] == 7
