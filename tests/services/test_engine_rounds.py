"""One transaction that decides a step in more than one of its rounds tells the step's targets once."""

from typing import Any

from models.database import Database
from models.step import Attempt, Step
from tests.support import engine
from tests.support.engine import Engine
from tests.support.soundness import assert_run_sound


def probe(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "probe", **fields}


def ended(database: Database, nodes: list[dict[str, Any]], edges: list[Any]) -> tuple[Engine, str]:
    """Run a definition as far as it goes, its messages in order."""
    ours = engine.make(database)
    ours.publish({"name": "rounds", "nodes": nodes, "edges": edges})
    run_id = ours.run("rounds")
    assert_run_sound(ours.deps, run_id)
    return ours, run_id


def test_a_ready_step_that_hears_of_another_edge_is_evaluated_once(database: Database) -> None:
    """`t` is ready by `first`; `mark`, evaluated before it, gives it a second edge. Its `when` is false."""
    nodes = [
        probe("first"),
        {"id": "mark", "type": "noop"},
        {"id": "t", "type": "noop", "join": "any", "when": "false"},
        probe("other"),
        probe("after"),
    ]
    ours, run_id = ended(database, nodes, ["first >> [mark, t]", "mark >> t", "[t, other] >> after"])
    assert ours.statuses(run_id) == {
        "first": "success",
        "mark": "success",
        "t": "skipped",
        "other": "success",
        "after": "success",
    }


def test_a_variable_is_set_once_by_a_step_that_hears_of_another_edge(database: Database) -> None:
    nodes = [
        probe("first"),
        {"id": "mark", "type": "noop"},
        {"id": "t", "type": "set", "join": "any", "values": {"count": "{{var.count + 1}}"}},
    ]
    ours = engine.make(database)
    edges = ["first >> [mark, t]", "mark >> t"]
    ours.publish({"name": "rounds", "variables": {"count": 0}, "nodes": nodes, "edges": edges})
    run_id = ours.run("rounds")
    assert ours.data(run_id).variables == {"count": 1}
    assert_run_sound(ours.deps, run_id)


def test_a_dead_step_that_hears_of_another_edge_is_skipped_once(database: Database) -> None:
    """`t` dies with `first`; `mark`, evaluated before it is skipped, gives it a second dead edge."""
    nodes = [
        probe("early", does={"fail": "TOOL_FAILED"}, error_port=True),
        probe("first"),
        {"id": "mark", "type": "noop"},
        probe("t", join={"at_least": 2}),
        probe("other"),
        probe("after"),
    ]
    edges = [
        "early >> t",
        "first >> mark",
        {"from": "first", "to": "t", "handle": "error"},
        {"from": "mark", "to": "t", "handle": "error"},
        "[t, other] >> after",
    ]
    ours, run_id = ended(database, nodes, edges)
    assert ours.statuses(run_id)["t"] == "skipped"
    assert ours.statuses(run_id)["after"] == "success"


def test_what_lives_after_a_join_is_met_is_no_part_of_its_input(database: Database) -> None:
    nodes = [
        probe("first", does={"succeed": {"of": "first"}}),
        {"id": "mark", "type": "noop", "input_mapping": {"of": "mark"}},
        {"id": "t", "type": "noop", "join": "any"},
    ]
    ours, run_id = ended(database, nodes, ["first >> [mark, t]", "mark >> t"])
    with ours.deps.db.read() as session:
        step = session.get(Step, (run_id, 2))
        attempt = session.get(Attempt, (run_id, 2, 1))
    assert step is not None
    assert attempt is not None
    assert (step.live_in, attempt.passed) == ("0", "0")
