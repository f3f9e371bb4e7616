"""A run's attempts as spans: in the order they began, with what they waited for."""

from datetime import datetime
from typing import Any

import pytest

from models.database import Database
from models.errors import InvalidError, NotFoundError
from orchestrator.core.outcome import Succeeded
from orchestrator.services import timeline, waking
from orchestrator.services.paging import PageRequest, cursor
from tests.support.engine import Engine
from tests.support.probes import ends, probe, publish


def spans(ours: Engine, run_id: str, limit: int = 200) -> list[dict[str, Any]]:
    """All pages of a run's timeline."""
    items: list[dict[str, Any]] = []
    page = timeline.page(ours.deps, ours.actor, run_id, PageRequest(limit=limit))
    items += page["items"]
    while page["next_cursor"]:
        request = PageRequest(limit=limit, cursor=page["next_cursor"])
        page = timeline.page(ours.deps, ours.actor, run_id, request)
        items += page["items"]
    return items


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_every_attempt_is_a_span_in_the_order_they_began(database: Database) -> None:
    told = {"agent": "scribe", "model": "stub/m", "tokens_in": 3, "tokens_out": 1, "cost_microcents": 9}
    ours = publish(
        database,
        probe(
            "second",
            [{"fail": "NETWORK"}, {"usage": told}],
            retry={"max_attempts": 2, "initial": 0, "jitter": 0},
        ),
        probe("first"),
        {"id": "last", "type": "noop"},
        edges=["first >> second >> last"],
    )
    run_id = ours.run("w")
    ours.sweep()
    ends(ours, run_id, "success")
    found = spans(ours, run_id)
    assert [(span["path"], span["attempt"], span["status"]) for span in found] == [
        ("first", 1, "success"),
        ("second", 1, "failed"),
        ("second", 2, "success"),
        ("last", 1, "success"),
    ]
    assert {
        "node": "second",
        "type": "probe",
        "agent": "scribe",
        "model": "stub/m",
        "tokens": {"input": 3, "output": 1},
        "cost_microcents": 9,
        "waits": [],
    }.items() <= found[2].items()
    for span in found[:3]:
        assert at(span["queued_at"]) <= at(span["started_at"]) <= at(span["finished_at"])
    assert at(found[1]["finished_at"]) <= at(found[2]["queued_at"])
    assert found[3]["queued_at"] is None
    for limit in (1, 2, 3):
        assert spans(ours, run_id, limit) == found


def test_what_an_attempt_waited_for_is_seen_while_and_after_it_waits(database: Database) -> None:
    ours = publish(database, probe("a", {"wait": "a person"}))
    run_id = ours.run("w")
    (waiting,) = spans(ours, run_id)
    (wait,) = waiting["waits"]
    assert (waiting["status"], waiting["finished_at"]) == ("waiting", None)
    assert (wait["to"], wait["reason"]) == (None, "a person")
    ours.send(waking.settle(ours.deps, run_id, 0, 1, Succeeded(output={})))
    ends(ours, run_id, "success")
    (ended,) = spans(ours, run_id)
    assert ended["waits"] == [{**wait, "to": ended["finished_at"]}]
    assert at(wait["from"]) >= at(ended["started_at"])


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_timeline_is_of_a_run_that_is_there(database: Database) -> None:
    ours = publish(database, probe("a"))
    run_id = ours.run("w")
    elsewhere = publish(database, probe("a"))
    with pytest.raises(NotFoundError):
        timeline.page(elsewhere.deps, elsewhere.actor, run_id, PageRequest())
    for place in ("7", "[]", '["x", 1, 1]', "{"):
        wrong = PageRequest(cursor=cursor(["timeline", run_id], place))
        with pytest.raises(InvalidError):
            timeline.page(ours.deps, ours.actor, run_id, wrong)
