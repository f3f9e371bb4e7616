"""Doing containers again: what is kept, what is done a second time, and what is let end meanwhile."""

from typing import Any

import pytest

from models.database import Database
from orchestrator.services import run_views
from orchestrator.settings import Settings
from tests.support import attempts, engine
from tests.support.bodies import body, definition, drive, ended, probe
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound

RETRY = {"max_attempts": 3, "initial": "1ms"}


@pytest.fixture
def ours(database: Database) -> Engine:
    return engine.make(database)


def each(**fields: Any) -> dict[str, Any]:
    return {"id": "each", "type": "parallel", **fields}


def tries(ours: Engine, run_id: str, path: str) -> int:
    return len(run_views.step(ours.deps, ours.actor, run_id, path)["attempt_log"])


def test_a_failure_that_an_edge_took_is_not_done_again(ours: Engine) -> None:
    inner = body(
        probe("bad", does=[{"fail": "TOOL_FAILED"}, {"succeed": "at last"}]),
        probe("rescue"),
        probe("good"),
        probe("late", does=[{"fail": "TOOL_FAILED"}, {"succeed": "ok"}]),
        edges=[{"from": "bad", "to": "rescue", "handle": "error"}, "bad >> good", "rescue >> late"],
    )
    found = ended(ours, definition(each(count=1, body=inner, retry=RETRY)))
    statuses = ours.statuses(found["id"])
    assert (statuses["each[0]/bad"], statuses["each[0]/good"]) == ("failed", "skipped")
    assert (found["status"], tries(ours, found["id"], "each[0]/bad")) == ("success", 1)


@pytest.mark.parametrize("join", ["any", {"at_least": 2}])
def test_a_join_that_had_more_than_it_needs_starts_again(ours: Engine, join: Any) -> None:
    inner = body(
        *(probe(name) for name in "abc"),
        probe("met", join=join, does=[{"fail": "TOOL_FAILED"}, {"succeed": 1}]),
        edges=["[a, b, c] >> met"],
    )
    described = definition(each(count=2, body=inner, retry=RETRY), on_failure="continue")
    assert ended(ours, described)["status"] == "success"


def test_an_empty_container_that_failed_at_its_edges_is_opened_again(ours: Engine) -> None:
    inner = body(
        probe("x"),
        {"id": "empty", "type": "parallel", "count": 0, "body": body(probe("y"))},
        probe("z"),
        edges=["x >> empty", {"from": "empty", "to": "z", "when": "inputs.absent"}],
    )
    found = ended(ours, definition(each(count=1, body=inner, retry=RETRY)))
    assert (found["status"], found["error"]["code"]) == ("failed", "UNRESOLVED_REFERENCE")


def test_what_a_container_cannot_use_is_not_asked_for_again(ours: Engine) -> None:
    """Wherever it is opened: by the transaction that makes it ready, or by a worker beyond the limit of one."""
    inner = body(
        {
            "id": "bad",
            "type": "parallel",
            "items": "{{inputs.text}}",
            "body": body(probe("x")),
            "retry": RETRY,
        }
    )
    found = ended(
        ours, definition(each(count=120, on_error="collect", body=inner)), inputs={"text": "no list"}
    )
    assert found["outputs"]["each"]["failed"] == 120
    assert {tries(ours, found["id"], f"each[{place}]/bad") for place in (0, 119)} == {1}


EXTERNAL = {
    "side_effects": "external",
    "idempotency_key": "{{run.id}}",
    "compensate": {"type": "none", "reason": "it can't be undone"},
}
FAILS_FIRST = [{"fail": "NETWORK"}, {"succeed": 1}]
SUCCEEDS = {"succeed": 1}


def committed(does: Any, **fields: Any) -> dict[str, Any]:
    """Two branches: the first fails while the second has an external commitment under way."""
    inner = body(
        probe("x", when="index == 1", does=does, retry=RETRY, **EXTERNAL),
        probe("bad", when="index == 0", does=FAILS_FIRST),
        probe("y", join="any"),
        edges=["x >> y", "bad >> y"],
    )
    edges = [{"from": "each", "to": "after", "handle": "error"}]
    return definition(each(count=2, body=inner, **fields), probe("after"), edges=edges)


def begun(ours: Engine, described: dict[str, Any], path: str) -> tuple[str, attempts.Claimed]:
    """A run of which all has ended but one step, which a worker still does."""
    ours.publish(described)
    run_id = ours.start("w")
    claimed = attempts.take(ours, path)
    drive(ours, run_id)
    return run_id, claimed


def finished(ours: Engine, run_id: str) -> tuple[str, dict[str, str]]:
    drive(ours, run_id)
    assert_run_sound(ours.deps, run_id)
    return str(ours.row(run_id).status), ours.statuses(run_id)


@pytest.mark.parametrize(("does", "x"), [(SUCCEEDS, "success"), (FAILS_FIRST, "failed")])
def test_what_is_let_end_in_a_closed_branch_ends(ours: Engine, does: Any, x: str) -> None:
    """Its success starts nothing, its failure is not tried again: nobody waits for it."""
    run_id, claimed = begun(ours, committed(does, retry={"max_attempts": 1}), "each[1]/x")
    assert (ours.statuses(run_id)["each"], ours.statuses(run_id)["each[1]/x"]) == ("failed", "running")
    attempts.end(ours, claimed)
    status, statuses = finished(ours, run_id)
    assert (status, statuses["each[1]/x"], statuses["each[1]/y"]) == ("success", x, "skipped")


def test_a_lost_worker_in_a_closed_branch_is_not_replaced(ours: Engine) -> None:
    run_id, claimed = begun(ours, committed(SUCCEEDS), "each[1]/x")
    attempts.lose(ours, claimed)
    status, statuses = finished(ours, run_id)
    assert (status, statuses["each[1]/x"]) == ("success", "failed")


@pytest.mark.parametrize(("does", "x"), [(SUCCEEDS, 1), (FAILS_FIRST, 2)])
def test_a_container_is_done_again_round_what_is_let_end(ours: Engine, does: Any, x: int) -> None:
    run_id, claimed = begun(ours, committed(does, retry=RETRY), "each[1]/x")
    assert ours.statuses(run_id)["each"] == "waiting"
    attempts.end(ours, claimed)
    status, statuses = finished(ours, run_id)
    assert (status, statuses["each"], statuses["each[1]/y"]) == ("success", "success", "success")
    assert tries(ours, run_id, "each[1]/x") == x


def test_a_branch_is_not_over_before_the_one_step_that_is_let_end(ours: Engine) -> None:
    inner = body(probe("x", does={"succeed": "{{index}}"}, **EXTERNAL))
    ours.publish(definition(each(count=1, body=inner, timeout=1, retry=RETRY)))
    run_id = ours.start("w")
    claimed = attempts.take(ours, "each[0]/x")
    attempts.outrun(ours, run_id, "each")
    drive(ours, run_id)
    assert ours.statuses(run_id) == {"each": "waiting", "each[0]/x": "running"}
    attempts.end(ours, claimed)
    assert finished(ours, run_id) == ("success", {"each": "success", "each[0]/x": "success"})


def test_a_join_that_came_by_a_chord_is_published_when_it_is_done_again(database: Database) -> None:
    ours = engine.make(database, settings=Settings(result_backend="redis://127.0.0.1/0"))
    slow = [{"id": name, "type": "slow_probe", "does": SUCCEEDS} for name in "ab"]
    inner = body(*slow, probe("join", does=FAILS_FIRST), edges=["[a, b] >> join"])
    found = ended(ours, definition(each(count=1, body=inner, retry=RETRY)))
    assert (found["status"], tries(ours, found["id"], "each[0]/join")) == ("success", 2)
    assert any(wave.join is not None for wave in ours.waves)
