"""`POST /api/callbacks/{token}`: the answers of agents that keep no connection."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from models.base import uuid7
from models.gateway import Gateway
from orchestrator.bridge import Dispatch
from orchestrator.services import callbacks, called_back, runs, vault
from tests.api.conftest import Api
from tests.support import attempts
from tests.support.desk import KIND, Desk, Office, step
from tests.support.soundness import assert_sound


def goes_on(request: Dispatch) -> None:
    """The agent answers by callback."""
    return


@pytest.fixture
def office(api: Api) -> Iterator[Office]:
    desk = Desk(does=goes_on)
    vars(api.engine.deps)["gateways"] = {KIND: desk}
    found = Office(engine=api.engine, desk=desk)
    found.agent("ada", found.gateway())
    api.engine.publish({"name": "w", "nodes": [step(), {"id": "b", "type": "noop"}], "edges": ["a >> b"]})
    yield found
    assert_sound(api.engine.deps)


def sent(office: Office) -> tuple[str, str]:
    """A run that waits for its agent, and the path at which that answers."""
    run_id = office.engine.run("w")
    url = office.desk.runs[f"{run_id}:a:1"].request.callback_url
    assert url is not None
    assert url.startswith(office.engine.deps.settings.url)
    return run_id, url.removeprefix(office.engine.deps.settings.url)


def told(api: Api, path: str, body: Any) -> TestResponse:
    return api.without_key().call("POST", path, json=body)


def test_an_answer_completes_the_step(api: Api, office: Office) -> None:
    run_id, path = sent(office)
    usage = {"input": 10, "output": 5, "cost_microcents": 7}
    answered = told(api, path, {"text": '{"score": 3}', "usage": usage, "model": "m"})
    assert (answered.status_code, answered.get_json()) == (200, {"status": "accepted"})
    assert office.engine.row(run_id).status == "success"
    row = attempts.attempts(office.engine, run_id, "a")[0]
    assert row.output["output"] == {"score": 3}
    assert (row.agent, row.model, row.tokens_in, row.tokens_out, row.cost_microcents) == (
        "ada",
        "m",
        10,
        5,
        7,
    )


def test_a_cost_beyond_all_reason_is_refused(api: Api, office: Office) -> None:
    run_id, path = sent(office)
    refused = told(api, path, {"text": "x", "usage": {"cost_microcents": 2**63 - 1}})
    assert (refused.status_code, refused.get_json()["errors"][0]["pointer"]) == (422, "/usage/cost_microcents")
    assert told(api, path, {"text": "x"}).status_code == 200
    assert office.engine.row(run_id).status == "success"


def test_an_error_fails_the_step(api: Api, office: Office) -> None:
    run_id, path = sent(office)
    assert told(api, path, {"error": {"message": "no luck", "code": "LLM_DOWN"}}).status_code == 200
    assert office.engine.row(run_id).error["code"] == "LLM_DOWN"


def test_an_agent_that_repeats_its_gateways_token(api: Api, office: Office) -> None:
    with office.engine.deps.db.transaction() as session:
        gateway = session.scalars(select(Gateway)).one()
        gateway.token = vault.seal(office.engine.deps.settings, "a-token-of-the-gateway")
    run_id, path = sent(office)
    said = {"message": "Bearer a-token-of-the-gateway is bad", "details": {"sent": "a-token-of-the-gateway"}}
    assert told(api, path, {"error": said | {"code": "LLM_DOWN"}}).status_code == 200
    error = office.engine.row(run_id).error
    assert error["code"] == "LLM_DOWN"
    assert "a-token" not in str(error)


def test_an_answer_is_taken_once(api: Api, office: Office) -> None:
    _, path = sent(office)
    assert told(api, path, {"text": "one"}).status_code == 200
    assert told(api, path, {"text": "two"}).status_code == 409


def test_an_answer_for_an_attempt_that_was_given_up_is_refused(api: Api, office: Office) -> None:
    run_id, path = sent(office)
    office.engine.send(runs.abort(office.engine.deps, office.engine.actor, run_id, "enough"))
    assert told(api, path, {"text": "late", "usage": {"cost_microcents": 9}}).status_code == 409
    assert attempts.attempts(office.engine, run_id, "a")[0].status == "fenced"


@pytest.mark.parametrize("change", ["cut", "another step", "garbage", "empty code", "another run"])
def test_a_forged_address_is_none(api: Api, office: Office, change: str) -> None:
    run_id, path = sent(office)
    token = path.rpartition("/")[2]
    settings = office.engine.deps.settings
    forged = {
        "cut": token[:-4],
        "another step": _with(token, callbacks.token(settings, run_id, 1, 1)),
        "garbage": "%F0%9F%92%A9" * 5,
        "empty code": token[:38],
        "another run": _with(token, callbacks.token(settings, uuid7(), 0, 1)),
    }[change]
    assert told(api, f"/api/callbacks/{forged}", {"text": "x"}).status_code == 404
    assert office.engine.statuses(run_id)["a"] == "waiting"


def _with(token: str, other: str) -> str:
    """What the other names, under the code of the first."""
    return other[:36] + token[36:]


def test_a_right_address_of_a_run_that_is_gone_is_none(api: Api, office: Office) -> None:
    gone = callbacks.token(office.engine.deps.settings, uuid7(), 0, 1)
    assert told(api, f"/api/callbacks/{gone}", {"text": "x"}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": 7},
        {"text": "x", "error": {"message": "y"}},
        {"error": {"message": "x", "code": "NO_CODE"}},
        {"error": {}},
        {"text": "x", "usage": {"input": "7"}},
        {"text": "x", "usage": {"input": True}},
        {"text": "x", "more": 1},
        {"text": None},
        [],
        7,
    ],
)
def test_a_body_that_is_no_answer_is_refused(api: Api, office: Office, body: Any) -> None:
    run_id, path = sent(office)
    assert told(api, path, body).status_code == 422
    assert office.engine.statuses(run_id)["a"] == "waiting"


def test_guesses_are_counted(api: Api, office: Office) -> None:
    _, path = sent(office)
    api.app.extensions["orchestrator"].rate._size = 3
    guesses = [told(api, "/api/callbacks/guess", {"text": "x"}).status_code for _ in range(5)]
    assert guesses == [404, 404, 404, 429, 429]
    assert told(api, path, {"text": "x"}).status_code == 200


def test_an_agent_that_is_quicker_than_the_engine_is_waited_for(api: Api, office: Office) -> None:
    run_id = office.engine.start("w")
    claimed = attempts.take(office.engine, "a")
    path = f"/api/callbacks/{callbacks.token(office.engine.deps.settings, run_id, 0, 1)}"
    found: list[int] = []
    teller = threading.Thread(target=lambda: found.append(told(api, path, {"text": "x"}).status_code))
    teller.start()
    attempts.end(office.engine, claimed)
    teller.join(10)
    assert found == [200]
    assert office.engine.row(run_id).status == "success"


def test_an_agent_that_is_much_quicker_is_told_to_come_again(
    api: Api, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(called_back, "PATIENCE", 0.1)
    run_id = office.engine.start("w")
    claimed = attempts.take(office.engine, "a")
    path = f"/api/callbacks/{callbacks.token(office.engine.deps.settings, run_id, 0, 1)}"
    early = told(api, path, {"text": "x"})
    assert (early.status_code, early.headers["Retry-After"]) == (503, "1")
    attempts.end(office.engine, claimed)
    assert told(api, path, {"text": "x"}).status_code == 200
