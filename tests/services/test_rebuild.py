"""`orchestrator rebuild`: rows that were lost or changed are written again as the events tell, and runs end right."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from models.database import Database
from models.errors import NotFoundError
from orchestrator.cli.main import main
from orchestrator.services import rebuilding, run_views
from orchestrator.services.rebuilding import Change
from tests.support import attempts, bodies, engine, office, probes
from tests.support.bodies import body, definition
from tests.support.engine import Engine
from tests.support.histories import LEADS, execute, finished
from tests.support.probes import NAME, probe
from tests.support.soundness import assert_run_sound


def rebuild(ours: Engine, run_id: str, **options: Any) -> list[Change]:
    return rebuilding.carry_out(ours.deps, run_id, **options)


def lose(ours: Engine, run_id: str, table: str, where: str = "1 = 1") -> None:
    execute(ours, f"DELETE FROM {table} WHERE run_id = :run AND {where}", run=run_id)


def count(ours: Engine, run_id: str, table: str) -> int:
    with ours.deps.db.read() as session:
        query = text(f"SELECT count(*) FROM {table} WHERE run_id = :run")
        return int(session.execute(query, {"run": run_id}).scalar_one())


def carried_on(ours: Engine, run_id: str) -> None:
    """The sweeps find what is to go on."""
    for _ in range(3):
        attempts.in_contact(ours)
        ours.sweep()
        bodies.drive(ours, run_id)


def test_a_sound_run_needs_nothing(database: Database) -> None:
    ours = engine.make(database)
    run_id = finished(ours)
    assert rebuild(ours, run_id) == []
    with pytest.raises(NotFoundError, match="there is no run"):
        rebuild(ours, "nobody")


def test_an_ended_run_gets_its_rows_back(database: Database) -> None:
    ours = engine.make(database)
    run_id = finished(ours, LEADS)
    shown = run_views.run(ours.deps, ours.actor, run_id)
    lose(ours, run_id, "step")
    execute(ours, "UPDATE run_data SET variables = '{}' WHERE run_id = :run", run=run_id)
    told = rebuild(ours, run_id, dry_run=True)
    assert count(ours, run_id, "step") == 0, "a dry run writes nothing"
    assert rebuild(ours, run_id) == told
    assert {change.what for change in told} == {"run", "step"}
    assert_run_sound(ours.deps, run_id)
    assert run_views.run(ours.deps, ours.actor, run_id) == shown


@pytest.mark.parametrize("lost", ["1 = 1", "no = 0", "no = 1", "no = 2", "no = 3"])
@pytest.mark.parametrize("stage", ["queued", "running", "join", "retrying"])
def test_a_run_that_goes_on_ends_right(database: Database, stage: str, lost: str) -> None:
    does = [{"fail": "NETWORK"}, {"succeed": {"late": 1}}]
    retry = {"max_attempts": 2, "initial": "1ms"}
    nodes = [probe("a"), probe("b", does, retry=retry), probe("c"), probe("d", join="any")]
    ours = probes.publish(database, *nodes, edges=["a >> b >> d", "a >> c >> d"])
    run_id = ours.start(NAME)
    if stage != "queued":
        attempts.end(ours, attempts.take(ours, "a"))
    if stage == "join":
        attempts.end(ours, attempts.take(ours, "c"))
    if stage in ("running", "retrying"):
        held = attempts.take(ours, "b")
        if stage == "retrying":
            attempts.end(ours, held)
    lose(ours, run_id, "step", lost)
    rebuild(ours, run_id)
    assert_run_sound(ours.deps, run_id)
    carried_on(ours, run_id)
    if stage == "running":
        attempts.end(ours, held)
        carried_on(ours, run_id)
    probes.ends(ours, run_id, "success")
    assert set(ours.statuses(run_id).values()) == {"success"}


def test_a_run_that_undoes_itself_goes_on(database: Database) -> None:
    undone = probe("a", compensate={"type": "probe", "does": {}})
    ours = probes.publish(database, undone, probe("b", {"fail": "NETWORK"}), edges=["a >> b"])
    run_id = ours.start(NAME)
    for path in ("a", "b"):
        attempts.end(ours, attempts.take(ours, path))
    assert rebuild(ours, run_id) == []
    lose(ours, run_id, "step", "no = 0")
    rebuild(ours, run_id)
    probes.ends(ours, run_id, "compensated")


def nested(**more: Any) -> dict[str, Any]:
    inner = {"id": "it", "type": "loop", "mode": "for", "count": 2, "body": body(probe("deep"))}
    return {
        "id": "each",
        "type": "parallel",
        "items": ["x", "y", "z"],
        "max_concurrency": 2,
        "collect": {"got": "{{item}}"},
        "body": body(probe("one"), inner, edges=["one >> it"]),
        **more,
    }


@pytest.mark.parametrize("most", [0, 1, 3, 6, 9, 12, 100])
@pytest.mark.parametrize(
    "tables", [("step",), ("branch",), ("container",), ("step", "branch", "container", "container_items")]
)
def test_loops_and_parallels_are_restored(database: Database, tables: tuple[str, ...], most: int) -> None:
    ours = engine.make(database)
    ours.publish(definition(probe("first"), nested(), probe("last"), edges=["first >> each >> last"]))
    run_id = ours.start("w")
    for _ in range(most):
        if ours.inbox:
            ours.carrier.carry(ours.inbox.pop(0)[0])
    for table in tables:
        if count(ours, run_id, table):
            lose(ours, run_id, table)
    rebuild(ours, run_id)
    assert_run_sound(ours.deps, run_id)
    assert rebuild(ours, run_id) == []
    carried_on(ours, run_id)
    probes.ends(ours, run_id, "success")
    results = run_views.run(ours.deps, ours.actor, run_id)["outputs"]["last"]
    assert results == {"count": 3, "failed": 0, "results": [{"got": item} for item in "xyz"]}


@pytest.mark.parametrize("node", ["approval", "signal"])
def test_a_step_that_waits_for_people_waits_again(database: Database, node: str) -> None:


    asks = {"approval": {"title": "May I?"}, "signal": {"signal": "go"}}[node]
    ours = probes.publish(database, {"id": "ask", "type": node, **asks}, probe("b"), edges=["ask >> b"])
    run_id = ours.run(NAME)
    lose(ours, run_id, "step")
    rebuild(ours, run_id)
    assert_run_sound(ours.deps, run_id)
    carried_on(ours, run_id)
    assert ours.statuses(run_id) == {"ask": "waiting", "b": "pending"}
    if node == "approval":
        office.vote(ours, office.inbox(ours)[0]["id"])
    else:
        office.signal(ours, run_id, "go", {"n": 1})
    office.fire(ours)
    office.swept(ours)
    probes.ends(ours, run_id, "success")


def test_the_command_says_what_it_writes(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", str(tmp_path))
    ours = probes.publish(database, probe("a"), probe("b"), edges=["a >> b"])
    run_id = probes.ended(ours)
    lose(ours, run_id, "step", "no = 1")
    dry = CliRunner().invoke(main, ["rebuild", run_id, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "would become" in dry.stdout
    assert "not there" in dry.stdout
    done = CliRunner().invoke(main, ["rebuild", run_id, "--json"])
    (change,) = json.loads(done.stdout)["changes"]
    assert (change["what"], change["path"], change["was"]) == ("step", "b", None)
    assert change["now"]["status"] == "success"
    assert "Every row is as the events tell." in CliRunner().invoke(main, ["rebuild", run_id]).stdout
    assert_run_sound(ours.deps, run_id)
    assert CliRunner().invoke(main, ["rebuild", "nobody"]).exit_code == 1
