"""Refusals, outages, lost answers, timeouts: which error comes, what is sent again, and that it is done once."""

import json
import pickle
import threading
import time
from pathlib import Path

import pytest

from models.errors import SettingsError
from orchestrator.cli.connection import connect
from orchestrator.client import (
    ApiError,
    Client,
    ClientError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    RunFailed,
    ServerError,
    TimedOut,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    WaitTimedOut,
)
from orchestrator.client.errors import refusal
from orchestrator.settings import Settings
from tests.client.conftest import PLAIN, TRIAGE, Serve, Served

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def test_each_refusal_is_its_own_error(client: Client, served: Served) -> None:
    with pytest.raises(NotFound, match="no run") as missing:
        client.runs.get("01980000-0000-7000-8000-000000000000")
    assert (missing.value.status, missing.value.code) == (404, "NOT_FOUND")
    with pytest.raises(Conflict) as taken:
        client.workflows.create(TRIAGE)
    assert (taken.value.status, taken.value.code) == (409, "CONFLICT")
    with pytest.raises(Unauthorized), served.client("ork_wrong") as nobody:
        nobody.runs.get("x")
    key = client.keys.create("reader", ["read"])["key"]
    with pytest.raises(Forbidden, match="scope"), served.client(key) as reader:
        reader.runs.start("triage", {"amount": 1})
    with pytest.raises(Invalid) as malformed:
        client.workflows.create("a: [")
    assert (malformed.value.status, malformed.value.code) == (400, "MALFORMED")
    with pytest.raises(ApiError) as unknown:
        client.request("PATCH", "/api/runs")
    assert (type(unknown.value), unknown.value.code) == (ApiError, "METHOD_NOT_ALLOWED")


def test_every_mistake_is_told_with_its_place(client: Client) -> None:
    with pytest.raises(Invalid) as caught:
        client.workflows.create("name: Hello\nnodes:\n  - id: one\n    type: nope\n")
    found = {(error["pointer"], error["code"], error.get("line")) for error in caught.value.errors}
    assert {("/name", "INVALID_NAME", 1), ("/nodes/0/type", "UNSUPPORTED_NODE_TYPE", 4)} <= found
    assert "\n  line 4, /nodes/0/type: UNSUPPORTED_NODE_TYPE: " in str(caught.value)
    with pytest.raises(Invalid, match="/inputs/amount") as inputs:
        client.runs.start("triage", {"amount": "much"})
    assert inputs.value.errors[0]["pointer"] == "/inputs/amount"
    with pytest.raises(Invalid):
        client.runs.start("triage", {"amount": float("nan")})


def test_too_many_calls_say_when_the_next_is_taken(serve: Serve) -> None:
    with serve(rate_limit=2).client() as client:
        client.request("GET", "/api/runs")
        client.request("GET", "/api/runs")
        with pytest.raises(RateLimited) as caught:
            client.request("GET", "/api/runs")
    assert 1 <= caught.value.retry_after <= 31


def test_a_503_is_sent_again_and_the_write_done_once(client: Client, served: Served) -> None:
    served.faults.plan += [PLAIN, PLAIN]
    run = client.runs.start("triage", {"amount": 1})
    assert len(served.faults.seen) == 3
    (key,) = {request.idempotency_key for request in served.faults.seen}
    assert key
    assert [found["id"] for found in client.runs.list()] == [run["id"]]


@pytest.mark.parametrize("given", [None, "my-key"])
def test_a_lost_answer_is_asked_for_again_and_the_write_done_once(
    client: Client, served: Served, given: str | None
) -> None:
    served.faults.plan += ["lost", "lost"]
    run = client.runs.start("triage", {"amount": 1}, idempotency_key=given)
    (key,) = {request.idempotency_key for request in served.faults.seen}
    assert given in (None, key)
    assert [found["id"] for found in client.runs.list()] == [run["id"]]
    served.faults.plan += ["lost"]
    made = client.keys.create("reader", ["read"])
    with served.client(made["key"]) as reader:
        assert len(list(reader.runs.list())) == 1


def test_each_write_has_a_key_of_its_own(client: Client, served: Served) -> None:
    first, second = (client.runs.start("triage", {"amount": 1})["id"] for _ in range(2))
    assert first != second
    again = [client.runs.start("triage", {"amount": 1}, idempotency_key="one")["id"] for _ in range(2)]
    assert again[0] == again[1]
    with pytest.raises(Invalid) as caught:
        client.runs.start("triage", {"amount": 2}, idempotency_key="one")
    assert caught.value.code == "IDEMPOTENCY_KEY_REUSED"


def test_tries_have_an_end(client: Client, served: Served) -> None:
    served.faults.plan += [PLAIN] * 3
    with served.client(retries=2) as impatient, pytest.raises(Unavailable, match="503") as caught:
        impatient.runs.get("x")
    assert len(served.faults.seen) == 3
    assert isinstance(caught.value, ServerError)
    assert caught.value.retry_after == 1.0


def test_a_refusal_is_not_sent_again(client: Client, served: Served) -> None:
    served.faults.plan += [(500, [], b""), (302, [("Location", "https://login")], b"")]
    with pytest.raises(ServerError, match="500"):
        client.runs.start("triage", {"amount": 1})
    with pytest.raises(UnexpectedAnswer, match="302 to https://login"):
        client.runs.get("x")
    with pytest.raises(NotFound):
        client.runs.get("x")
    assert len(served.faults.seen) == 3


def test_another_page_than_the_apis_is_told(client: Client, served: Served) -> None:
    page = (200, [("Content-Type", "text/html")], b"<h1>welcome</h1>")
    served.faults.plan += [page, page]
    with pytest.raises(UnexpectedAnswer, match="text/html, which the API does not"):
        client.runs.get("x")
    with pytest.raises(UnexpectedAnswer, match="text/html"):
        next(client.runs.events("x"))


def test_an_api_that_is_away_and_comes_back_is_waited_for(client: Client, served: Served) -> None:
    served.leave()
    threading.Timer(0.3, served.proxy.accept).start()
    assert client.runs.start("triage", {"amount": 1})["id"]


def test_no_api_names_the_address_and_the_remedy(database_kind: str) -> None:
    with Client("http://127.0.0.1:9/", retries=1) as client:
        with pytest.raises(ConnectionFailed, match=r"http://127\.0\.0\.1:9 does not answer.*orchestrator up"):
            client.runs.get("x")
        with pytest.raises(ConnectionFailed):
            client.ready()


def test_an_api_that_is_silent_is_given_up(client: Client, served: Served) -> None:
    client.ready()
    served.proxy.freeze()
    began = time.monotonic()
    with served.client(timeout=0.3) as impatient, pytest.raises(TimedOut, match="ReadTimeout"):
        impatient.runs.start("triage", {"amount": 1})
    assert time.monotonic() - began >= 0.3
    served.proxy.thaw()


def test_a_wait_for_a_run_ends_with_its_time(client: Client, served: Served) -> None:
    served.work.clear()
    run = client.runs.start("triage", {"amount": 1})["id"]
    for seconds in (0, 0.5):
        began = time.monotonic()
        with pytest.raises(WaitTimedOut, match=f"is running after {seconds} s") as caught:
            client.runs.wait(run, timeout=seconds)
        assert time.monotonic() - began >= seconds
        assert caught.value.run["id"] == run
    served.work.set()
    assert client.runs.wait(run, timeout=30)["status"] == "success"


def test_a_wait_with_a_limit_does_not_outlast_an_api_that_is_away(client: Client, served: Served) -> None:
    run = client.runs.start("triage", {"amount": 1})["id"]
    served.leave()
    with pytest.raises(ConnectionFailed):
        client.runs.wait(run, timeout=0.5)


def test_an_api_without_its_database_says_so(client: Client, served: Served) -> None:
    body = json.dumps({"status": "unavailable", "missing": ["database"]}).encode()
    served.faults.plan += [(503, [("Content-Type", "application/json")], body), PLAIN]
    assert client.ready() == {"status": "unavailable", "missing": ["database"]}
    with pytest.raises(Unavailable):
        client.ready()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 418, 422, 429, 500, 502, 503, 504])
def test_errors_survive_a_pickle(status: int, database_kind: str) -> None:
    error = refusal(status, {"detail": "it can't be", "code": "CODE", "errors": []}, 3.0)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_runs_error_survives_a_pickle(client: Client) -> None:
    run = client.runs.start("failing", hold=30)
    for error in (RunFailed(run), WaitTimedOut(run, 3)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.run) == (type(error), str(error), run)
        assert isinstance(again, ClientError)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "/api"])
def test_an_address_that_is_none_is_refused_at_once(url: str, database_kind: str) -> None:
    with pytest.raises(ValueError, match=r"http://host:8080"):
        Client(url)


def test_a_key_with_line_breaks_is_trimmed_or_refused(database_kind: str) -> None:
    with pytest.raises(ValueError, match="copy it again") as caught:
        Client("http://x", api_key="ork_\nsecret")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Client("http://x", api_key=" secret\n"))


def test_address_and_key_come_from_the_environment(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_URL", served.url)
    with pytest.raises(Unauthorized), Client() as client:
        client.request("GET", "/api/runs")
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", served.key)
    with Client() as client:
        assert list(client.runs.list()) == []


def test_the_command_lines_key_is_that_of_the_data_directory_unless_one_is_set(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "admin.key").write_text(f"{served.key}\n")
    settings = Settings(data_dir=tmp_path, url=served.url)
    assert list(connect(settings).runs.list()) == []
    with pytest.raises(Unauthorized):
        list(connect(Settings(data_dir=tmp_path, url=served.url, api_key="other")).runs.list())
    with pytest.raises(Unauthorized):
        list(connect(Settings(data_dir=tmp_path / "none", url=served.url)).runs.list())
    with pytest.raises(SettingsError, match="copy it again"):
        connect(Settings(data_dir=tmp_path, url=served.url, api_key="ork_\nx"))
