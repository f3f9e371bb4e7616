"""signature: until it is signed everything can be undone, afterwards nothing is."""

import pytest

from examples.outside import Outside
from models.database import Database
from tests.support.durable import Case, start
from tests.support.probes import ends

NAME = "signature"
VOID = "POST /esign/envelopes/envelopes-1/void"
TOLD = "POST /email/messages"
OPEN_AGAIN = "PATCH /crm/deals/d-1/terms"


def sent(database: Database, outside: Outside) -> Case:
    """A run whose request is with the signer."""
    case = start(database, outside, NAME)
    case.approve("approve", {"token": "token-7"})
    return case


def webhook(case: Case, status: str) -> None:
    case.signal("envelope.ended", "envelopes-1", {"status": status, "by": "ada"})


def test_signed_and_recorded(database: Database, outside: Outside) -> None:
    case = sent(database, outside)
    webhook(case, "completed")
    assert case.succeeds() == {"envelope": "envelopes-1", "evidence": "evidence-packs-1", "by_hand": None}
    assert [str(call) for call in outside.calls] == [
        "PUT /crm/deals/d-1/terms",
        TOLD,
        "POST /esign/envelopes",
        "POST /crm/deals/d-1/contracts",
        TOLD,
        "PATCH /crm/deals/d-1",
        "POST /documents/evidence-packs",
    ]
    assert outside.calls[-1].body == {
        "deal": "d-1",
        "approved": {"by": ["ada"], "token": "token-7"},
        "envelope": "envelopes-1",
        "contract": "contracts-1",
        "run": case.run_id,
    }


def test_nobody_may_send_it(database: Database, outside: Outside) -> None:
    case = start(database, outside, NAME)
    case.reject("approve")
    case.undoes(OPEN_AGAIN)
    assert outside.calls[-1].body == {"stage": "renegotiation"}
    assert case.error() == ("REJECTED", "approve")


def test_the_signer_declines(database: Database, outside: Outside) -> None:
    case = sent(database, outside)
    webhook(case, "declined")
    case.undoes(VOID, TOLD, OPEN_AGAIN)
    assert case.engine.row(case.run_id).error["message"].startswith("the envelope is declined, not completed")


def test_nobody_signs_within_a_week(database: Database, outside: Outside) -> None:
    case = sent(database, outside)
    case.passes(6.9)
    assert case.engine.statuses(case.run_id)["signed"] == "waiting"
    case.passes(0.1)
    case.undoes(VOID, TOLD, OPEN_AGAIN)
    assert case.error() == ("VALIDATION", "unsigned")
    assert outside.calls[-2].body == {
        "to": "ada@acme.example", "template": "signature-void", "reply_to": "messages-1"
    }  # fmt: skip


def test_a_webhook_that_was_lost_is_made_good(database: Database, outside: Outside) -> None:
    outside.shows["/esign/envelopes/envelopes-1"] = {"status": "completed"}
    case = sent(database, outside)
    case.passes(7)
    assert case.succeeds()["evidence"] == "evidence-packs-1"


@pytest.mark.parametrize(
    ("away", "done"), [("/crm/deals/d-1/contracts", 0), ("/email", 1), ("/documents", 3)]
)
def test_what_is_signed_is_finished_by_hand_and_never_undone(
    database: Database, outside: Outside, away: str, done: int
) -> None:
    case = sent(database, outside)
    outside.away[away] = 400
    webhook(case, "completed")
    assert case.engine.row(case.run_id).status == "paused"
    assert len(outside.calls) == 3 + done
    case.passes(100)
    case.resume({"done": "in the CRM's own forms"})
    ends(case.engine, case.run_id, "success")
    assert case.succeeds() == {
        "envelope": "envelopes-1", "evidence": None, "by_hand": {"done": "in the CRM's own forms"}
    }  # fmt: skip
