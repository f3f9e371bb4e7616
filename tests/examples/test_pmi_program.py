"""pmi-program: four phases of changes, each with a gate."""

from examples.outside import Outside
from models.database import Database
from tests.support.durable import Case, start

NAME = "pmi-program"
WAITS = (1, 29, 30, 30)
CHANGES = (
    ("legal", "hr", "it"),
    ("finance", "crm"),
    ("hr", "it", "finance"),
    ("crm", "legal"),
)
SEPARATED = "POST /legal/entities/entities-1/separation"


def at_gate(database: Database, outside: Outside, number: int) -> Case:
    """A run at a gate, 0 to 3, with those before it passed."""
    case = start(database, outside, NAME)
    for gate in range(number + 1):
        case.passes(WAITS[gate])
        if gate < number:
            passes(case, gate)
    return case


def passes(case: Case, gate: int) -> None:
    case.approve(f"phases[{gate}]/gate", {"open_points": []}, by=("integration-lead", "sponsor"))


def rolled_back(phases: int) -> list[str]:
    """The calls that take back all changes of so many phases."""
    made, counts = [], dict.fromkeys(("legal", "hr", "it", "finance", "crm"), 0)
    for phase in CHANGES[:phases]:
        for system in phase:
            counts[system] += 1
            made.append(f"DELETE /{system}/changes/changes-{counts[system]}")
    return [*reversed(made), SEPARATED]


def test_through_all_gates(database: Database, outside: Outside) -> None:
    case = at_gate(database, outside, 3)
    passes(case, 3)
    outputs = case.succeeds()
    assert outputs["entity"] == "entities-1"
    assert [change["system"] for change in outputs["changes"]] == [name for phase in CHANGES for name in phase]
    phases = [call.body["phase"] for call in outside.calls if call.path.endswith("/changes")]
    assert phases == ["Day 1"] * 3 + ["Day 30"] * 2 + ["Day 60"] * 3 + ["Day 90"] * 2


def test_the_first_gate_is_not_passed(database: Database, outside: Outside) -> None:
    case = at_gate(database, outside, 0)
    case.reject("phases[0]/gate")
    case.undoes(*rolled_back(1))
    assert case.error() == ("REJECTED", "phases")


def test_the_last_gate_is_not_passed(database: Database, outside: Outside) -> None:
    case = at_gate(database, outside, 3)
    case.approve("phases[3]/gate", by=("sponsor",))
    case.reject("phases[3]/gate")
    case.undoes(*rolled_back(4))


def test_a_gate_that_nobody_passes(database: Database, outside: Outside) -> None:
    case = at_gate(database, outside, 1)
    case.passes(14)
    case.undoes(*rolled_back(2))
    assert case.error() == ("EXPIRED", "phases")


def test_a_change_that_cannot_be_made(database: Database, outside: Outside) -> None:
    outside.away["/crm"] = 422
    case = at_gate(database, outside, 0)
    passes(case, 0)
    case.passes(WAITS[1])
    case.undoes("DELETE /finance/changes/changes-1", *rolled_back(1))
