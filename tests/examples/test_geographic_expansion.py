"""geographic-expansion: a licence, a canary, and step by step all users."""

from examples.outside import Outside
from models.database import Database
from tests.support.durable import Case, start

NAME = "geographic-expansion"
ROLLOUT = "PUT /infrastructure/markets/SA/rollout"
GIVEN_BACK = "POST /regulator/applications/applications-1/withdrawal"
ALL = (
    ROLLOUT,
    "PUT /infrastructure/markets/SA",
    "POST /email/campaigns",
    "DELETE /infrastructure/regions/regions-1",
    "DELETE /partners/contracts/contracts-1",
    GIVEN_BACK,
)


def decided(database: Database, outside: Outside, **data: object) -> Case:
    case = start(database, outside, NAME)
    case.signal("application.decided", "applications-1", data)
    return case


def reviewed(database: Database, outside: Outside, verdict: str) -> Case:
    """A run whose canary was watched and judged."""
    case = decided(database, outside, granted=True, number="L-7")
    assert case.engine.statuses(case.run_id)["bake"] == "waiting"
    case.passes(14)
    case.resume({"verdict": verdict})
    return case


def percents(outside: Outside) -> list[int]:
    return [call.body["percent"] for call in outside.calls if str(call) == ROLLOUT]


def test_to_all_users(database: Database, outside: Outside) -> None:
    case = reviewed(database, outside, "go")
    case.approve("scale", by=("cto", "cmo"))
    for _ in range(3):
        case.passes(2)
    assert case.succeeds() == {"country": "SA", "licence": "L-7", "region": "regions-1"}
    assert percents(outside) == [5, 25, 50, 100]


def test_no_licence(database: Database, outside: Outside) -> None:
    case = decided(database, outside, granted=False)
    case.undoes(GIVEN_BACK)
    assert case.error() == ("VALIDATION", "refused")


def test_the_canary_is_stopped(database: Database, outside: Outside) -> None:
    outside.says["canary"] = {"verdict": "stop", "reason": "errors at 9 %"}
    case = reviewed(database, outside, "stop")
    case.undoes(*ALL)
    assert percents(outside) == [5, 0]
    assert [call.body["enabled"] for call in outside.calls if str(call) == ALL[1]] == [True, False]


def test_it_is_not_to_scale(database: Database, outside: Outside) -> None:
    case = reviewed(database, outside, "go")
    case.approve("scale", by=("cto",))
    case.reject("scale")
    case.undoes(*ALL)
    assert case.error() == ("REJECTED", "scale")


def test_a_market_that_is_unwell_goes_back_stage_by_stage(database: Database, outside: Outside) -> None:
    case = reviewed(database, outside, "go")
    case.approve("scale", by=("cto", "cmo"))
    case.passes(2)
    outside.away["/infrastructure/markets/SA/health"] = 418
    case.passes(2)
    case.undoes(ROLLOUT, ROLLOUT, *ALL)
    assert percents(outside) == [5, 25, 50, 25, 5, 0]
    assert case.error() == ("TOOL_FAILED", "rollout")
