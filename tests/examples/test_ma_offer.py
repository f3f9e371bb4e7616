"""ma-offer: a board with a ceiling, a target and a regulator that answer side by side."""

from examples.outside import Outside
from models.database import Database
from tests.support.durable import Case, start
from tests.support.office import inbox

NAME = "ma-offer"
MANDATES_AND_FILE = (
    "DELETE /advisors/mandates/mandates-1",
    "DELETE /counsel/mandates/mandates-1",
    "POST /documents/files/files-1/archive",
)
ALL = (
    "POST /counsel/offers/offers-1/withdrawal",
    "POST /regulator/filings/filings-1/withdrawal",
    *MANDATES_AND_FILE,
)


def offered(database: Database, outside: Outside) -> Case:
    """A run whose offer of 50 million, of at most 60, is with target and regulator."""
    case = start(database, outside, NAME)
    case.approve("board", {"ceiling": 60}, by=("chair", "ada", "bob"))
    return case


def answers(case: Case, answer: str, price: int | None = None) -> None:
    case.signal("offer.answered", "offers-1", {"answer": answer} | ({} if price is None else {"price": price}))


def decides(case: Case, *, cleared: bool) -> None:
    case.signal("filing.decided", "filings-1", {"cleared": cleared, "conditions": "sell the depot"})


def test_agreed_then_cleared(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "counter", 58)
    answers(case, "accept")
    assert inbox(case.engine) == []
    decides(case, cleared=True)
    (asked,) = inbox(case.engine)
    assert asked["title"] == "Buy Acme for 58 million? sell the depot"
    case.approve("sign_off", by=("chair",))
    assert case.succeeds() == {
        "offer": "offers-1", "price": 58, "conditions": "sell the depot", "closing": "closings-1"
    }  # fmt: skip
    assert [call.body["price"] for call in outside.calls if call.path.startswith("/counsel/offers")] == [50, 58]


def test_cleared_then_agreed(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    decides(case, cleared=True)
    assert inbox(case.engine) == []
    answers(case, "accept")
    case.approve("sign_off", by=("chair",))
    assert case.succeeds()["price"] == 50


def test_the_board_says_no(database: Database, outside: Outside) -> None:
    case = start(database, outside, NAME)
    case.approve("board", {"ceiling": 60}, by=("chair", "ada"))
    case.reject("board")
    case.undoes(*MANDATES_AND_FILE)
    assert case.error() == ("REJECTED", "board")


def test_the_target_declines_while_the_regulator_still_thinks(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "decline")
    case.undoes(*ALL)
    assert case.engine.statuses(case.run_id)["clearance"] == "aborted"


def test_more_than_the_board_would_give(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "counter", 60)
    answers(case, "counter", 61)
    case.undoes(*ALL)
    assert "61 million" in case.engine.row(case.run_id).error["message"]


def test_the_regulator_refuses_what_is_agreed(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "accept")
    decides(case, cleared=False)
    assert [row["step"] for row in inbox(case.engine, status=None)] == ["board"]
    case.undoes(*ALL)
    assert case.error() == ("VALIDATION", "refused")


def test_the_regulator_never_decides(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "accept")
    case.passes(84)
    case.undoes(*ALL)
    assert case.error() == ("EXPIRED", "clearance")


def test_the_chair_says_no_at_last(database: Database, outside: Outside) -> None:
    case = offered(database, outside)
    answers(case, "accept")
    decides(case, cleared=True)
    case.reject("sign_off")
    case.undoes(*ALL)
    assert case.error() == ("REJECTED", "sign_off")
