"""An operator gives one step another timeout or retry while its run goes on."""

from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError
from models.queries import sweeps
from orchestrator.services import overriding
from orchestrator.services.reaching import Wanted
from tests.support import attempts, probes
from tests.support.engine import Engine
from tests.support.probes import probe
from tests.support.soundness import assert_run_sound


def override(ours: Engine, run_id: str, path: str, **given: Any) -> None:
    wanted = Wanted(run_id=run_id, path=path)
    ours.send(overriding.override(ours.deps, ours.actor, wanted, given))


def seconds_left(ours: Engine, run_id: str, path: str) -> float | None:
    at = attempts.step(ours, run_id, path).timeout_at
    with ours.deps.db.read() as session:
        return None if at is None else at.timestamp() - sweeps.clock(session)


def test_an_override_holds_for_the_next_attempt_and_for_that_step_alone(database: Database) -> None:
    once = [{"fail": "TOOL_FAILED"}, {}]
    nodes = [probe("a", once, timeout=1_000), probe("b", timeout=1_000)]
    ours = probes.publish(database, *nodes, edges=["a >> b"])
    run_id = ours.start(probes.NAME)
    ours.deps.runs.get(run_id)  # what a process has kept of the run is no hindrance
    override(ours, run_id, "a", timeout=50.0, retry={"max_attempts": 2, "initial": 0.0})
    override(ours, run_id, "a", retry={"jitter": 0.0})
    held = attempts.take(ours, "a")
    left = seconds_left(ours, run_id, "a")
    assert left is not None
    assert (left < 51, held.node.timeout, held.node.retry.max_attempts) == (True, 50.0, 2)
    attempts.end(ours, held)
    assert ours.statuses(run_id)["a"] == "retrying"
    ours.sweep()
    ours.carrier.carry(ours.inbox.pop(0)[0])
    assert ours.statuses(run_id) == dict.fromkeys("ab", "success")
    probes.ends(ours, run_id, "success")
    with pytest.raises(ConflictError, match="b is success, and no attempt of it is to come"):
        override(ours, run_id, "b", timeout=5.0)


def test_a_container_follows_an_override(database: Database) -> None:
    each = {
        "id": "each", "type": "parallel", "count": 1,
        "body": {"nodes": [probe("x", {"wait": "for ever"})]},
    }  # fmt: skip
    ours = probes.publish(database, probe("a"), each, edges=["a >> each"])
    run_id = ours.start(probes.NAME)
    override(ours, run_id, "each", timeout=50.0)
    ours.drain()
    left = seconds_left(ours, run_id, "each")
    assert left is not None
    assert 0 < left < 51
    assert_run_sound(ours.deps, run_id)
