"""dd-room: five workstreams side by side, and an investment committee."""

from examples.outside import Outside
from models.database import Database
from tests.support import attempts
from tests.support.durable import Case, start

NAME = "dd-room"
STREAMS = ("financial", "legal", "technical", "product", "security")
ENDED = [f"DELETE /counsel/mandates/mandates-{number}" for number in (1, 2, 3, 4, 5)]
TOLD = "POST /email/messages"
ARCHIVED = "POST /documents/rooms/rooms-1/archive"


def completed(case: Case, *order: int) -> None:
    """The leads call their workstreams complete, in this order."""
    for branch in order:
        case.approve(f"workstreams[{branch}]/complete")


def test_to_the_closing(database: Database, outside: Outside) -> None:
    outside.says["memo"] = {"text": "Buy it."}
    case = start(database, outside, NAME)
    completed(case, 4, 3, 2, 1, 0)
    case.approve("review")
    case.approve("committee", {"price": 45}, by=("ic-chair", "ic-finance"))
    assert case.succeeds() == {"room": "rooms-1", "risks": 10, "impact_percent": -8, "price": 45}
    assert [call.body["workstream"] for call in outside.calls if call.path == "/counsel/mandates"] == list(STREAMS)
    (register,) = [call for call in outside.calls if call.path.endswith("/risk-register")]
    assert register.body["risks"][0] == {
        "workstream": "financial", "title": "a key person may leave", "severity": "high"
    }  # fmt: skip
    assert outside.calls[-1].body == {"room": "rooms-1", "price": 45, "memo": "Buy it."}


def test_a_lead_says_no(database: Database, outside: Outside) -> None:
    case = start(database, outside, NAME)
    completed(case, 2)
    case.reject("workstreams[1]/complete")
    case.undoes(*reversed(ENDED), TOLD, ARCHIVED)
    assert case.error() == ("REJECTED", "workstreams")
    assert attempts.step(case.engine, case.run_id, "plan").status == "compensated"


def test_a_lead_says_nothing(database: Database, outside: Outside) -> None:
    case = start(database, outside, NAME)
    case.passes(28)
    case.undoes(*reversed(ENDED), TOLD, ARCHIVED)
    assert case.error() == ("EXPIRED", "workstreams")


def test_the_findings_are_too_bad(database: Database, outside: Outside) -> None:
    case = start(database, outside, NAME)
    completed(case, 0, 1, 2, 3, 4)
    case.reject("review")
    case.undoes(*reversed(ENDED), TOLD, ARCHIVED)


def test_the_committee_says_no(database: Database, outside: Outside) -> None:
    outside.says["lessons"] = {"text": "Ask for the contracts first."}
    outside.says["memo"] = {"text": "Do not buy it."}
    case = start(database, outside, NAME)
    completed(case, 0, 1, 2, 3, 4)
    case.approve("review")
    case.approve("committee", {"price": 45}, by=("ic-chair",))
    case.reject("committee")
    case.undoes(*reversed(ENDED), TOLD, ARCHIVED)
    assert case.error() == ("REJECTED", "committee")
    (learned,) = attempts.attempts(case.engine, case.run_id, "plan:compensate")
    assert learned.output["output"] == {"text": "Ask for the contracts first."}
