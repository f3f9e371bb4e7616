"""Forks: what was decided is copied and costs nothing, the rest is done anew with what is laid over."""

from collections.abc import Iterator
from typing import Any

import pytest

from models.database import Database
from models.errors import ConflictError, InvalidError, NotFoundError
from orchestrator.services import checkpoints, control, forking, restoring, run_views, runs, undoing, vault
from orchestrator.services.forking import Wanted
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import PageRequest
from orchestrator.services.reaching import Wanted as Step
from orchestrator.services.restoring import Wanted as RestoreWanted
from tests.support import attempts, bodies, engine, probes
from tests.support.bodies import body, definition
from tests.support.desk import SETTINGS, Office, office, step
from tests.support.engine import Engine
from tests.support.gateways import TOKEN, LocalGateway
from tests.support.probes import NAME, probe
from tests.support.soundness import assert_run_sound

TEN = [f"s{place}" for place in range(10)]


def fork(ours: Engine, run_id: str, **wanted: Any) -> str:
    """A fork, and all that follows from it by itself."""
    created = forking.fork(ours.deps, ours.actor, Wanted(run_id=run_id, **wanted))
    ours.send(created.effects)
    ours.drain()
    assert_run_sound(ours.deps, created.run_id)
    return created.run_id


def started(ours: Engine, run_id: str) -> list[str]:
    """The steps that a run has carried out itself."""
    return [str(e.step) for e in attempts.events(ours, run_id) if e.type == "step.started"]


def shown(ours: Engine, run_id: str) -> dict[str, Any]:
    return run_views.run(ours.deps, ours.actor, run_id)


@pytest.fixture
def ten_agents(database: Database, local_gateway: LocalGateway) -> Iterator[Office]:
    """A chain of ten agent steps at a real gateway, by the real driver."""
    said = {"description": '@gateway {"reply": {"done": true}}'}
    nodes = [step(name, agent="echo", task=said) for name in TEN]
    ours = office(database, *nodes, edges=[" >> ".join(TEN)], settings=SETTINGS)
    del vars(ours.engine.deps)["gateways"]
    sealed = vault.seal(SETTINGS, TOKEN)
    ours.gateway(kind="openclaw", url=local_gateway.address.url, token=sealed, is_default=True)
    yield ours
    for driver in ours.engine.deps.gateways.values():
        driver.close()


@pytest.mark.parametrize("place", [{"from_step": "s5"}, {"checkpoint": "after:s4"}])
def test_the_gateway_sees_five_calls_of_a_fork_from_the_fifth_of_ten(
    ten_agents: Office, local_gateway: LocalGateway, place: dict[str, str]
) -> None:
    ours = ten_agents.engine
    run_id = ours.run(NAME, inputs={"lead": "Ada"})
    probes.ends(ours, run_id, "success")
    assert len(local_gateway.runs()) == 10
    forked = fork(ours, run_id, **place)
    probes.ends(ours, forked, "success")
    assert len(local_gateway.runs()) == 15
    assert started(ours, forked) == TEN[5:]
    assert shown(ours, forked)["outputs"] == shown(ours, run_id)["outputs"]
    assert sum(a.cost_microcents for name in TEN[:5] for a in attempts.attempts(ours, forked, name)) == 0


def test_a_fork_names_its_origin_and_keeps_what_it_was_given(database: Database) -> None:
    ours = probes.publish(database, probe("a"), probe("b"), edges=["a >> b"], budget={"limit_cents": 7})
    run_id = ours.run(
        NAME, inputs={"n": 1}, labels={"team": "sales"}, priority=4, overrides={"timeout": 60.0}
    )
    forked = fork(ours, run_id, from_step="b", reason="a better prompt")
    found, row = shown(ours, forked), ours.row(forked)
    last = ours.row(run_id).seq
    assert found["forked_from"] == {"run_id": run_id, "seq": last, "from_step": "b"}
    assert (found["labels"], row.priority, row.has_budget) == ({"team": "sales"}, 4, True)
    assert ours.data(forked).overrides == {"timeout": 60.0}
    created = attempts.events(ours, forked)[0]
    assert created.data["forked_from"]["run_id"] == run_id
    assert (created.actor, created.data["reason"]) == ("test", "a better prompt")
    assert shown(ours, run_id)["forked_from"] is None


def test_inputs_and_variables_are_laid_over(database: Database) -> None:
    nodes = [
        probe("a"),
        {"id": "b", "type": "set", "values": {"seen": "{{inputs.n}}-{{var.tone}}-{{var.kept}}"}},
        probe("c", input_mapping={"said": "{{var.seen}}"}),
    ]
    ours = probes.publish(
        database,
        *nodes,
        edges=["a >> b >> c"],
        variables={"tone": "stiff", "kept": 1, "seen": ""},
        inputs={"type": "object", "properties": {"n": {"type": "integer"}}},
    )
    run_id = probes.ended(ours, inputs={"n": 1})
    forked = fork(ours, run_id, from_step="b", inputs={"n": 2}, variables={"tone": "warm"})
    probes.ends(ours, forked, "success")
    assert shown(ours, forked)["outputs"]["c"]["said"] == "2-warm-1"
    assert shown(ours, run_id)["outputs"]["c"]["said"] == "1-stiff-1"
    with pytest.raises(InvalidError) as refused:
        fork(ours, run_id, from_step="b", inputs={"n": "two"})
    assert [p.pointer for p in refused.value.problems] == ["/inputs/n"]


def test_what_was_under_way_starts_anew_under_keys_of_the_fork(database: Database) -> None:
    ours = probes.publish(database, probe("a"), probe("b"), probe("c"), edges=["a >> [b, c]"])
    run_id = ours.start(NAME)
    attempts.end(ours, attempts.take(ours, "a"))
    held = attempts.take(ours, "b")
    forked = fork(ours, run_id, seq=ours.row(run_id).seq)
    assert sorted(set(started(ours, forked))) == ["b", "c"]
    attempts.end(ours, held)
    probes.ends(ours, run_id, "success")
    probes.ends(ours, forked, "success")


def test_a_failed_run_is_forked_from_before_its_failure(database: Database) -> None:
    does = [{"fail": "TOOL_FAILED"}, {"succeed": {"late": True}}]
    ours = probes.publish(database, probe("a"), probe("b", does), probe("c"), edges=["a >> b >> c"])
    run_id = probes.ended(ours, "failed")
    forked = fork(ours, run_id, checkpoint="after:a")
    assert ours.row(forked).status == "failed", "its first attempt fails like that of the origin"
    assert started(ours, forked) == ["b"]
    kept = fork(ours, run_id, checkpoint="after:b")
    assert (ours.row(kept).status, ours.row(kept).error["step"], started(ours, kept)) == ("failed", "b", [])


ITEMS = ["x", "y", "z"]


def map_of(**more: Any) -> dict[str, Any]:
    inner = body(probe("one", {"succeed": {"is": 1}}), probe("two"), edges=["one >> two"])
    return {"id": "each", "type": "parallel", "items": ITEMS, "body": inner, **more}


@pytest.mark.parametrize("more", [{}, {"collect": {"got": "{{item}}"}}])
def test_the_results_of_a_loop_or_parallel_are_taken_over(database: Database, more: dict[str, Any]) -> None:
    ours = bodies_of(database, map_of(**more), probe("last"), edges=["each >> last"])
    run_id = ours.run("w")
    forked = fork(ours, run_id, from_step="last")
    probes.ends(ours, forked, "success")
    assert started(ours, forked) == ["last"]
    assert shown(ours, forked)["outputs"] == shown(ours, run_id)["outputs"]


def test_a_half_done_loop_goes_on_where_it_was(database: Database) -> None:
    loop = {
        "id": "each",
        "type": "loop",
        "mode": "for_each",
        "items": ITEMS,
        "body": body(probe("one"), probe("two"), edges=["one >> two"]),
    }
    ours = bodies_of(database, loop)
    run_id = ours.start("w")
    bodies.drive(ours, run_id)
    log = attempts.events(ours, run_id)
    seq = next(e.seq for e in log if e.type == "step.completed" and e.step == "each[1]/one")
    created = forking.fork(ours.deps, ours.actor, Wanted(run_id=run_id, seq=seq))
    ours.send(created.effects)
    bodies.drive(ours, created.run_id)
    probes.ends(ours, created.run_id, "success")
    assert started(ours, created.run_id) == ["each[1]/two", "each[2]/one", "each[2]/two"]
    assert shown(ours, created.run_id)["outputs"] == shown(ours, run_id)["outputs"]


def test_what_a_rerun_has_overwritten_since_is_found_again(database: Database) -> None:
    ours = bodies_of(database, map_of(collect={"got": "{{item}}"}), probe("last"), edges=["each >> last"])
    run_id = ours.run("w")
    before = ours.row(run_id).seq
    ours.send(control.rerun(ours.deps, ours.actor, Step(run_id=run_id, path="each")))
    forked = fork(ours, run_id, seq=before)
    assert started(ours, forked) == []
    assert shown(ours, forked)["outputs"] == {"last": {"count": 3, "failed": 0, "results": [{"got": i} for i in ITEMS]}}
    ours.drain()
    probes.ends(ours, run_id, "success")


def bodies_of(database: Database, *nodes: dict[str, Any], edges: Any = ()) -> Engine:
    ours = engine.make(database)
    ours.publish(definition(*nodes, edges=list(edges)))
    return ours


def test_what_cannot_be_forked_says_why(database: Database) -> None:
    edges = ["each >> last", {"from": "each", "to": "never", "handle": "error"}]
    ours = bodies_of(database, map_of(), probe("last"), probe("never"), edges=edges)
    run_id = ours.run("w")
    for wanted, error, sentence in (
        ({"from_step": "nobody"}, NotFoundError, "no step 'nobody'"),
        ({"from_step": "each[0]/one"}, ConflictError, "is in a loop or parallel; fork from each"),
        ({"from_step": "never"}, ConflictError, "too few edges to it live"),
        ({"checkpoint": "nowhere"}, NotFoundError, "no checkpoint 'nowhere'"),
        ({"seq": 10_000}, InvalidError, "none of number 10000"),
    ):
        with pytest.raises(error, match=sentence):
            fork(ours, run_id, **wanted)
    with pytest.raises(NotFoundError):
        fork(ours, "nobody", seq=1)


def test_a_fork_under_one_key_is_made_once(database: Database) -> None:
    ours = probes.publish(database, probe("a"))
    run_id = probes.ended(ours)
    wanted = Wanted(run_id=run_id, from_step="a")

    def once() -> Once:
        return Once(workspace_id=ours.actor.workspace_id, key="k", digest="d", status=202)

    first = forking.fork(ours.deps, ours.actor, wanted, once())
    again = forking.fork(ours.deps, ours.actor, wanted, once())
    assert first.run_id == again.run_id
    ours.send(first.effects)
    probes.ends(ours, first.run_id, "success")


def test_a_fork_needs_room_under_its_concurrency_key(database: Database) -> None:
    terms = {"key": "all", "limit": 1, "on_limit": "queue"}
    ours = probes.publish(database, probe("a", {"wait": "for ever"}), concurrency=terms)
    run_id = ours.run(NAME)
    with pytest.raises(ConflictError, match="has no room"):
        fork(ours, run_id, seq=1)
    ours.send(runs.abort(ours.deps, ours.actor, run_id, "enough"))
    fork(ours, run_id, seq=1)


def test_a_fork_of_a_fork_at_its_copies_is_whole(database: Database) -> None:
    ours = bodies_of(database, map_of(), probe("last"), edges=["each >> last"])
    forked = fork(ours, ours.run("w"), from_step="last")
    again = fork(ours, forked, seq=4)
    assert started(ours, again) == ["last"]
    assert [c for c in page(ours, forked) if c["name"].startswith("after:each")] == []


def page(ours: Engine, run_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = checkpoints.page(ours.deps, ours.actor, run_id, PageRequest(limit=200))["items"]
    return found


def test_a_fork_undoes_what_it_has_done_and_its_origin_the_rest(database: Database) -> None:
    """What it took over stays its origin's, after a restore of the fork too."""
    undo = {"type": "probe", "does": {}}
    nodes = [probe("a", compensate=undo), probe("b", compensate=undo), probe("c", "{{inputs.does}}")]
    ours = probes.publish(database, *nodes, edges=["a >> b >> c"])
    fails = {"does": {"fail": "TOOL_FAILED", "transient": False}}
    origin = probes.ended(ours, inputs={"does": {}})
    made = fork(ours, origin, from_step="b", inputs=fails)
    assert shown(ours, made)["status"] == "compensated"
    assert (ours.statuses(made)["a"], ours.statuses(made)["b"]) == ("success", "compensated")

    place = RestoreWanted(run_id=made, checkpoint="after:b", reason="once more")
    ours.send(restoring.restore(ours.deps, ours.actor, place))
    ours.drain()
    assert_run_sound(ours.deps, made)
    assert (ours.statuses(made)["a"], ours.statuses(made)["b"]) == ("success", "compensated")
    assert shown(ours, origin)["status"] == "success"
    assert ours.statuses(origin) == {"a": "success", "b": "success", "c": "success"}
    ours.send(undoing.compensate(ours.deps, ours.actor, origin, "all of it"))
    ours.drain()
    assert shown(ours, origin)["status"] == "compensated"
    assert_run_sound(ours.deps, origin)


def test_a_fork_of_all_that_was_done_has_nothing_to_undo(database: Database) -> None:
    undone = probe("a", compensate={"type": "probe", "does": {}})
    ours = probes.publish(database, undone, probe("b", "{{inputs.does}}"), edges=["a >> b"])
    origin = probes.ended(ours, inputs={"does": {}})
    fails = {"does": {"fail": "TOOL_FAILED", "transient": False}}
    made = fork(ours, origin, from_step="b", inputs=fails)
    assert shown(ours, made)["status"] == "failed"
    with pytest.raises(ConflictError, match="nothing is left"):
        undoing.compensate(ours.deps, ours.actor, made, "undo it")
