"""Random trees of runs, controlled and carried in any order, end: every one of them, with nothing broken."""

from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.database import Database
from models.errors import ConflictError
from models.states import RUN_TERMINAL
from orchestrator.services import runs, sweeps
from orchestrator.settings import Settings
from tests.support.calls import call, everything, lose_relays, made, sound
from tests.support.engine import Engine
from tests.support.probes import probe

HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
DEEPEST = 3
ROUNDS = 40
CENT = 1_000_000


def draw(random: Random, no: int, count: int) -> dict[str, Any]:
    """Workflow `no` of `count`, which calls later ones, or itself."""
    nodes = [_node(random, place, no, count) for place in range(random.randint(1, 3))]
    edges = [
        {"from": f"n{random.randrange(later)}", "to": f"n{later}"}
        for later in range(1, len(nodes))
        if random.random() < 0.6
    ]
    if random.random() < 0.3:
        edges.append({"from": "n0", "to": "mend", "handle": "error"})
        nodes.append(probe("mend"))
    found: dict[str, Any] = {"name": f"w{no}", "nodes": nodes, "edges": edges}
    found["on_failure"] = random.choice(("fail_fast", "continue"))
    if random.random() < 0.3:
        limit = {"limit_cents": random.randint(6, 14), "on_exceeded": random.choice(("abort", "pause"))}
        found["budget"] = limit
    return found


def _node(random: Random, place: int, no: int, count: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if random.random() < 0.3:
        fields["retry"] = {"max_attempts": 2, "initial": 0, "jitter": 0}
    if random.random() < 0.6:
        own = random.random() < 0.1
        target = f"w{no if own else random.randint(no + 1, count)}"  # the last one is not there
        return call(f"n{place}", target, wait=random.random() < 0.85, **fields)
    usage = {"cost_microcents": random.randint(0, 3) * CENT}
    does = random.choice(
        (
            {"succeed": {"n": no}, "usage": usage},
            {"succeed": {"n": no}, "usage": usage},
            {"fail": random.choice(("NETWORK", "TOOL_FAILED"))},
            {"wait": "a person"},
            {"pause": "a person"},
        )
    )
    return probe(f"n{place}", does, estimated_cost_cents=random.randint(0, 2), **fields)


def carry(ours: Engine, random: Random) -> None:
    """Carry what there is in any order, some of it twice; some of what runs tell each other is lost."""
    while ours.inbox or ours.relays:
        if ours.relays and (not ours.inbox or random.random() < 0.5):
            relay = ours.relays.pop(random.randrange(len(ours.relays)))
            for _ in range(random.choice((0, 1, 1, 1, 2))):
                ours.relay(relay)
        elif ours.inbox:
            message, in_chord = ours.inbox.pop(random.randrange(len(ours.inbox)))
            ours.carrier.carry(message, in_chord=in_chord)
        if random.random() < 0.05:
            control(ours, random)


def control(ours: Engine, random: Random) -> None:
    """A person aborts, pauses or resumes any of the runs."""
    run_id = random.choice(everything(ours)).id
    act = random.choice((_abort, _pause, _pause, _resume, _resume))
    act(ours, run_id)


def _abort(ours: Engine, run_id: str) -> None:
    _try(ours, lambda: runs.abort(ours.deps, ours.actor, run_id, "enough"))


def _pause(ours: Engine, run_id: str) -> None:
    _try(ours, lambda: runs.pause(ours.deps, ours.actor, run_id, "lunch"))


def _resume(ours: Engine, run_id: str) -> None:
    _try(ours, lambda: runs.resume(ours.deps, ours.actor, run_id, {}, {"limit_cents": 1_000}))


def _try(ours: Engine, act: Any) -> None:
    try:
        ours.send(act())
    except ConflictError:
        return


def go_on(ours: Engine, random: Random) -> None:
    """Whoever waits is served: lost entries are sent again, people resume; in the end they give up."""
    for round_ in range(ROUNDS):
        open_ = [run for run in everything(ours) if run.status not in RUN_TERMINAL]
        if not open_ and not ours.relays:
            lose_relays(ours)
            if not sweeps.run(ours.deps, "relays").effects:
                return
        for run in open_:
            (_resume if run.status == "paused" else _abort if round_ > 3 else _nothing)(ours, run.id)
        lose_relays(ours)
        ours.sweep()
        carry(ours, random)


def _nothing(ours: Engine, run_id: str) -> None:
    """Let it be."""


@settings(max_examples=30, deadline=None, suppress_health_check=HEALTH)
@given(st.integers(0, 2**32 - 1))
def test_every_run_of_a_tree_ends(database: Database, seed: int) -> None:
    random = Random(seed)  # drawn at once: the order of ids within a millisecond is nobody's to decide
    count = random.randint(2, 4)
    definitions = [draw(random, no, count) for no in range(count)]
    ours = made(database, *definitions, settings=Settings(max_call_depth=DEEPEST))
    ours.start("w0", inputs={})
    carry(ours, random)
    go_on(ours, random)
    found = everything(ours)
    assert {run.status for run in found} <= {str(status) for status in RUN_TERMINAL}
    assert max(run.depth for run in found) <= DEEPEST
    sound(ours)
