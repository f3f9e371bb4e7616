"""What the runs of a schedule are, by the seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.faults.workflows.agents import AGENTS
from tests.faults.workflows.bodies import BODIES
from tests.faults.workflows.called import CALLED
from tests.faults.workflows.elsewhere import ELSEWHERE
from tests.faults.workflows.failing import FAILING, SPENDING, UNDONE
from tests.faults.workflows.family import Expected, Family
from tests.faults.workflows.orders import ORDERS
from tests.faults.workflows.people import PEOPLE

FAMILIES: tuple[Family, ...] = (ORDERS, BODIES, PEOPLE, CALLED, ELSEWHERE, AGENTS, FAILING, SPENDING, UNDONE)


BURST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run that is to be started, `at` seconds after the beginning."""

    number: int
    at: float
    workflow: str
    inputs: dict[str, Any]
    expected: Expected


def definitions(url: str) -> Iterator[dict[str, Any]]:
    """All definitions, those that are called before those that call them."""
    for family in FAMILIES:
        yield from family.definitions(url)


def jobs(seed: int, runs: int, seconds: float) -> list[Job]:
    """`runs` runs of all families in turn, over `seconds`; some at once, so that there is much to be hit."""
    made = []
    for number in range(runs):
        family = FAMILIES[number % len(FAMILIES)]
        given = family.inputs(Random(f"{seed} {number}"), number)
        made.append(
            Job(
                number=number,
                at=seconds * (number - number % BURST) / runs,
                workflow=family.workflow,
                inputs=given,
                expected=family.expected(given),
            )
        )
    return made


def node_types(definition: dict[str, Any]) -> Iterator[str]:
    """The types of all nodes of a definition, of its bodies too."""
    for node in definition["nodes"]:
        yield node["type"]
        if "body" in node:
            yield from node_types(node["body"])
