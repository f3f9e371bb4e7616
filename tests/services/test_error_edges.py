"""What follows an error edge: it has the error by name, and an input of nothing else."""

from models.database import Database
from tests.support import engine
from tests.support.soundness import assert_run_sound


def test_what_only_an_error_leads_to_passes_on_an_empty_object(database: Database) -> None:
    nodes = [
        {"id": "a", "type": "transform", "expression": '$error("boom")'},
        {"id": "b", "type": "set", "values": {"code": "{{a.error.code}}"}},
        {"id": "c", "type": "noop"},
        {"id": "d", "type": "transform", "expression": "$"},
    ]
    edges = [{"from": "a", "to": "b", "handle": "error"}, "b >> c >> d"]
    ours = engine.make(database)
    ours.publish(
        {"name": "e", "nodes": nodes, "edges": edges, "outputs": {"b": "{{b}}", "c": "{{c}}", "d": "{{d}}"}}
    )
    run_id = ours.run("e")
    assert ours.row(run_id).status == "success"
    assert ours.data(run_id).variables == {"code": "VALIDATION"}
    assert ours.data(run_id).outputs == {"b": {}, "c": {}, "d": {}}
    assert_run_sound(ours.deps, run_id)
