"""partner-approval: three people and the partner say yes, or no."""

from examples.outside import Outside
from models.database import Database
from tests.support.durable import Case, start
from tests.support.probes import ends

NAME = "partner-approval"
ANSWERED = "partner.answered"
VOID = "POST /esign/envelopes/envelopes-1/void"
TOLD = "POST /email/messages"
REJECTED = "PATCH /crm/partners/partners-1"


def offered(database: Database, outside: Outside) -> Case:
    """A run whose terms are with the partner."""
    case = start(database, outside, NAME)
    case.approve("manager", {"most_revenue_share": 30})
    case.approve("legal", {"remarks": "fine"})
    return case


def answers(case: Case, answer: str, share: int | None = None) -> None:
    data = {"answer": answer} if share is None else {"answer": answer, "revenue_share": share}
    case.signal(ANSWERED, "envelopes-1", data)


def test_to_an_active_partner_over_two_rounds(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "counter", 25)
    answers(case, "counter", 28)
    answers(case, "accept")
    case.approve("executive", by=("coo", "cfo"))
    assert case.succeeds() == {"partner": "partners-1", "fit": 82, "revenue_share": 28}
    assert [str(call) for call in outside.calls] == [
        "POST /crm/partners",
        TOLD,
        "POST /esign/envelopes",
        "POST /whatsapp/messages",
        *["PUT /esign/envelopes/envelopes-1"] * 2,
        "POST /crm/partners/partners-1/activation",
        TOLD,
    ]
    assert outside.calls[6].body == {"revenue_share": 28, "approved_by": ["coo", "cfo"]}


def test_without_a_phone_nobody_is_nudged(database: Database, outside: Outside) -> None:
    case = start(database, outside, NAME, partner={"name": "Acme", "email": "ada@acme.example"})
    case.approve("manager", {"most_revenue_share": 30})
    case.approve("legal")
    assert [call.path for call in outside.calls] == ["/crm/partners", "/email/messages", "/esign/envelopes"]
    assert case.engine.statuses(case.run_id)["nudge"] == "skipped"


def test_a_welcome_that_fails_undoes_no_partner(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "accept")
    outside.away["/email"] = 400
    case.approve("executive", by=("coo", "cfo"))
    ends(case.engine, case.run_id, "success")
    assert case.engine.statuses(case.run_id)["unwelcomed"] == "success"


def test_one_that_does_not_fit_is_asked_nobody(database: Database, outside: Outside) -> None:
    outside.says["fit"] = {"score": 39, "reason": "sells to nobody"}
    case = start(database, outside, NAME)
    case.undoes(REJECTED)
    assert case.error() == ("VALIDATION", "unfit")


def test_the_manager_says_no(database: Database, outside: Outside) -> None:
    case = start(database, outside, NAME)
    case.reject("manager")
    case.undoes(REJECTED)
    assert case.error() == ("REJECTED", "manager")


def test_nobody_in_legal_says_anything(database: Database, outside: Outside) -> None:
    case = start(database, outside, NAME)
    case.approve("manager", {"most_revenue_share": 30})
    case.passes(5)
    case.undoes(REJECTED)
    assert case.error() == ("EXPIRED", "legal")


def test_the_partner_declines(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "decline")
    case.undoes(VOID, TOLD, REJECTED)
    assert case.error() == ("VALIDATION", "negotiation")


def test_the_partner_wants_more_than_the_manager_gave(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "counter", 31)
    case.undoes(VOID, TOLD, REJECTED)


def test_five_rounds_are_enough(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    for share in range(21, 26):
        answers(case, "counter", share)
    case.undoes(VOID, TOLD, REJECTED)
    assert case.error() == ("LOOP_LIMIT", "negotiation")


def test_one_executive_says_no(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "counter", 25)
    answers(case, "accept")
    case.approve("executive", by=("coo",))
    case.reject("executive")
    case.undoes(VOID, TOLD, REJECTED)
    assert case.error() == ("REJECTED", "executive")
    declined = outside.calls[-2].body
    assert declined == {"to": "ada@acme.example", "template": "partnership-declined", "reply_to": "messages-1"}


def test_an_activation_that_fails_for_good(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "accept")
    outside.away["/crm/partners/partners-1/activation"] = 409
    case.approve("executive", by=("coo", "cfo"))
    case.undoes(VOID, TOLD, REJECTED)
    assert case.error() == ("TOOL_FAILED", "activate")
