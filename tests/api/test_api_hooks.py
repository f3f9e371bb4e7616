"""Hooks: what comes to their addresses starts workflows and signals runs, once, when it is who it says it is."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from models.errors import NotFoundError
from orchestrator.services import hook_calls, hook_signatures
from orchestrator.services.hook_calls import Arrived
from tests.api.conftest import Api
from tests.api.hooks import LISTENING, PLAIN, come, hook, nothing_came, of_github, path, runs, signed
from tests.support.office import swept
from tests.support.soundness import assert_sound


@pytest.fixture
def plain(api: Api) -> Api:
    api.define(PLAIN)
    return api


def test_what_comes_starts_the_workflow(plain: Api) -> None:
    made = hook(plain)
    answer = come(plain, made, {"amount": 7})
    taken = plain.done(answer, 202)
    assert set(taken) == {"id", "status", "workflow", "signal"}
    assert (taken["workflow"], taken["signal"]) == ("plain", None)
    assert answer.headers["Location"] == f"/api/runs/{taken['id']}"
    plain.engine.drain()
    run = plain.done(plain.get(f"/api/runs/{taken['id']}"))
    assert (run["status"], run["inputs"], run["outputs"]) == ("success", {"amount": 7}, {"a": {"amount": 7}})
    created = plain.done(plain.get(f"/api/runs/{taken['id']}/events"))["items"][0]
    assert created["actor"] == "incoming"
    (act,) = plain.done(plain.get("/api/audit", action="run.create"))["items"]
    assert (act["actor"], act["actor_id"], act["source"]) == ("incoming", f"hook:{made['id']}", "127.0.0.1")
    assert_sound(plain.engine.deps)


def test_a_mapping_takes_what_it_wants(plain: Api) -> None:
    mapping = {
        "amount": "{{body.items[0].amount}}",
        "double": "{{body.items[0].amount * 2}}",
        "from": "{{headers['x-from']}} at {{query.shop}}",
        "by": "{{headers.X-From}}, {{ headers.x-from? }}, {{headers.x-by-nobody?}}",
        "none": "{{body.missing?}}",
        "as_it_is": [1, {"two": "{{query}}"}],
    }
    made = hook(plain, mapping=mapping)
    headers = {"X-From": "eu", "Authorization": "Basic secret", "Cookie": "secret"}
    body = {"items": [{"amount": 4}], "text": "{{headers.host}}"}
    taken = plain.done(come(plain, made, body, headers, query_string={"shop": "7"}), 202)
    inputs = plain.done(plain.get(f"/api/runs/{taken['id']}"))["inputs"]
    texts = {"from": "eu at 7", "by": "eu, eu, null"}
    wanted = {"amount": 4, "double": 8, "none": None, "as_it_is": [1, {"two": {"shop": "7"}}], **texts}
    assert inputs == wanted


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"other": 1}, ["/mapping/amount", "/mapping/size"]),
        ({"amount": "many", "list": []}, ["/inputs/amount"]),
        ({"amount": 1, "list": 3}, ["/mapping/size"]),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(plain: Api, body: Any, pointers: list[str]) -> None:
    mapping = {"amount": "{{body.amount}}", "size": "{{size(body.list)}}"}
    made = hook(plain, mapping=mapping, dedup="{{headers.x-id}}")
    answer = come(plain, made, body, {"X-Id": "1"})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.get_json()["errors"]] == pointers
    assert nothing_came(plain)
    plain.done(come(plain, made, {"amount": 1, "list": []}, {"X-Id": "1"}), 202)


def test_a_body_that_is_no_object_needs_a_mapping(plain: Api) -> None:
    assert come(plain, hook(plain), [1]).status_code == 422
    taken = plain.done(come(plain, hook(plain, name="mapped", mapping={"amount": "{{body[0]}}"}), [1]), 202)
    assert plain.done(plain.get(f"/api/runs/{taken['id']}"))["inputs"] == {"amount": 1}


def test_the_standard_scheme(plain: Api) -> None:
    made = hook(plain, scheme="standard-webhooks")
    assert made["secret"].startswith("whsec_")
    assert made["has_secret"]
    body = b'{"amount":  3}'
    first = plain.done(come(plain, made, body, signed(made, body)), 202)
    again = plain.done(come(plain, made, body, signed(made, body)), 202)
    assert again["id"] == first["id"]
    assert plain.done(come(plain, made, body, signed(made, body, "msg_2")), 202)["id"] != first["id"]
    assert len(runs(plain)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,not base64!"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v2,AAAA ,"},
        {"webhook-signature": "é,é"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e400"},
        {"webhook-timestamp": "yesterday"},
        {"webhook-id": "msg_2"},
        {"webhook-id": None},
        {"webhook-signature": None},
        {"webhook-timestamp": None},
    ],
)
def test_a_wrong_signature_starts_nothing(plain: Api, change: dict[str, str | None]) -> None:
    made = hook(plain, scheme="standard-webhooks")
    body = b'{"amount": 3}'
    headers = {name: value for name, value in {**signed(made, body), **change}.items() if value is not None}
    assert come(plain, made, body, headers).status_code == 401
    assert nothing_came(plain)


@pytest.mark.parametrize(("late", "status"), [(-280, 202), (-302, 401), (302, 401), (298, 202)])
def test_a_signature_holds_for_five_minutes(plain: Api, late: int, status: int) -> None:
    made = hook(plain, scheme="standard-webhooks")
    body = b'{"amount": 3}'
    at = datetime.now(UTC) + timedelta(seconds=late)
    assert come(plain, made, body, signed(made, body, at=at)).status_code == status


def test_an_altered_body_is_refused(plain: Api) -> None:
    made = hook(plain, scheme="standard-webhooks")
    headers = signed(made, b'{"amount": 3}')
    for body in (b'{"amount": 4}', b'{"amount":3}', b"\xff", b""):
        assert come(plain, made, body, headers).status_code == 401
    assert nothing_came(plain)


def test_githubs_scheme_as_json_and_as_a_form(plain: Api) -> None:
    secret = "It's a Secret to Everybody"
    made = hook(plain, scheme="github", secret=secret)
    assert (made["secret"], made["has_secret"]) == (None, True)
    body = b'{"amount": 3}'
    first = plain.done(come(plain, made, body, of_github(secret, body)), 202)
    assert plain.done(come(plain, made, body, of_github(secret, body)), 202)["id"] == first["id"]
    form = urlencode({"payload": '{"amount": 5}'}).encode()
    headers = {**of_github(secret, form, "d-2"), "Content-Type": "application/x-www-form-urlencoded"}
    second = plain.done(come(plain, made, form, headers), 202)
    assert plain.done(plain.get(f"/api/runs/{second['id']}"))["inputs"] == {"amount": 5}
    for header in ("sha256=00", "sha1=00", "é", ""):
        wrong = {**of_github(secret, body, "d-3"), "X-Hub-Signature-256": header}
        assert come(plain, made, body, wrong).status_code == 401
    assert come(plain, made, body, {"X-GitHub-Delivery": "d-3"}).status_code == 401
    assert len(runs(plain)) == 2


def test_githubs_own_example() -> None:
    """GitHub, "Validating webhook deliveries": testing the verification."""
    header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    hook_signatures.verify("github", "It's a Secret to Everybody", b"Hello, World!", {"x-hub-signature-256": header})


def test_a_number_of_the_senders_own(plain: Api) -> None:
    made = hook(plain, dedup="{{body.id}}", mapping={"amount": "{{body.amount}}"})
    first = plain.done(come(plain, made, {"id": 9, "amount": 1}), 202)
    other = plain.done(come(plain, made, {"id": "9", "amount": 2}), 202)
    assert other["id"] == first["id"]
    plain.engine.drain()
    again = plain.done(come(plain, made, {"id": 9, "amount": 1}), 202)
    assert again == {**first, "status": "success"}
    assert plain.done(come(plain, made, {"id": 10, "amount": 1}), 202)["id"] != first["id"]
    assert come(plain, made, {"amount": 1}).status_code == 422
    unnumbered = hook(plain, name="unnumbered")
    assert len({plain.done(come(plain, unnumbered, {"amount": 1}), 202)["id"] for _ in range(2)}) == 2


def test_twenty_at_once_are_one_run(plain: Api) -> None:
    made = hook(plain, scheme="standard-webhooks")
    body = b'{"amount": 3}'
    headers = signed(made, body)
    begin = threading.Barrier(20)

    def call(_: int) -> str:
        begin.wait()
        return str(plain.done(come(plain, made, body, headers), 202)["id"])

    with ThreadPoolExecutor(20) as pool:
        found = set(pool.map(call, range(20)))
    assert found == {run.id for run in runs(plain)}
    assert len(found) == 1


def test_a_signal_to_a_key(api: Api) -> None:
    api.define(LISTENING)
    run = api.run("listening", inputs={"envelope": "e-1"})["id"]
    signal = {"name": "signed", "key": "{{body.envelope_id}}"}
    made = hook(api, workflow=None, signal=signal, mapping={"by": "{{body.who}}"}, dedup="{{body.event}}")
    body = {"envelope_id": "e-1", "who": "ada", "event": "ev-1"}
    taken = api.done(come(api, made, body), 202)
    assert taken == {"id": run, "status": taken["status"], "workflow": None, "signal": "signed"}
    assert api.done(come(api, made, body), 202)["id"] == run
    api.engine.drain()
    assert api.done(api.get(f"/api/runs/{run}"))["outputs"] == {"wait": {"by": "ada"}}
    early = api.done(come(api, made, {**body, "envelope_id": "e-2", "event": "ev-2"}), 202)
    assert (early["id"], early["status"]) == (None, None)
    late = api.run("listening", inputs={"envelope": "e-2"})["id"]
    swept(api.engine)
    assert api.done(api.get(f"/api/runs/{late}"))["status"] == "success"
    assert come(api, made, {**body, "envelope_id": "", "event": "ev-3"}).status_code == 422


def test_a_signal_to_a_run(api: Api) -> None:
    api.define(LISTENING)
    run = api.run("listening", inputs={"envelope": "e-1"})["id"]
    made = hook(api, workflow=None, signal={"name": "signed", "run": "{{query.run}}"})
    for place in ("none", "00000000-0000-7000-8000-000000000000"):
        refused = come(api, made, {}, query_string={"run": place})
        assert refused.status_code == 422
        assert refused.get_json()["errors"][0]["pointer"] == "/signal/run"
    assert api.done(come(api, made, {"x": 1}, query_string={"run": run}), 202)["id"] == run
    api.engine.drain()
    assert api.done(api.get(f"/api/runs/{run}"))["outputs"] == {"wait": {"x": 1}}
    assert come(api, made, {}, query_string={"run": run}).status_code == 409


def test_an_address_that_is_none(plain: Api) -> None:
    made = hook(plain)
    assert plain.without_key().post("/api/hooks/none", {}).status_code == 404
    assert plain.without_key().post(f"/api/hooks/{made['id']}", {}).status_code == 404
    plain.done(plain.delete("/api/hooks/incoming"))
    assert come(plain, made, {"amount": 1}).status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dedup": "{{body.amount}}"},
        {"scheme": "standard-webhooks"},
        {"workflow": None, "signal": {"name": "signed", "key": "k"}},
        {"workflow": None, "signal": {"name": "signed", "run": "00000000-0000-7000-8000-000000000000"}},
    ],
)
def test_what_comes_beside_the_removal_of_its_hook_starts_nothing(plain: Api, fields: dict[str, Any]) -> None:
    made, body = hook(plain, **fields), b'{"amount": 1}'
    target = hook_calls.find(plain.engine.deps, path(made).rpartition("/")[2])
    plain.done(plain.delete("/api/hooks/incoming"))
    headers = signed(made, body) if made["has_secret"] else {}
    arrived = Arrived(raw=body, is_form=False, headers=headers, query={}, source=None)
    with pytest.raises(NotFoundError):
        hook_calls.take(plain.engine.deps, target, arrived)
    assert nothing_came(plain)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"workflow": "open", "mapping": {"x": ["{{query.x}}"]}}, "/mapping/x/0"),
        ({"workflow": "open", "mapping": {"x": r"{{body.a + '\u0000'}}"}}, "/mapping/x"),
        ({"workflow": "open", "dedup": "{{query.x}}"}, "/dedup"),
        ({"signal": {"name": "signed", "key": "{{query.x}}"}}, "/signal/key"),
        ({"signal": {"name": "signed", "key": "k"}, "mapping": {"x": "{{query}}"}}, "/mapping/x/x"),
    ],
)
def test_what_the_database_cannot_hold_is_refused(api: Api, fields: dict[str, Any], pointer: str) -> None:
    api.define({"name": "open", "nodes": [{"id": "a", "type": "noop"}]})
    made = api.done(api.post("/api/hooks", {"name": "incoming", **fields}), 201)
    refused = come(api, made, {"a": "b"}, query_string="x=a%00b")
    assert refused.status_code == 422
    assert [problem["pointer"] for problem in refused.get_json()["errors"]] == [pointer]
    assert nothing_came(api)


def test_calls_are_counted_by_address_and_by_hook(plain: Api) -> None:
    made = hook(plain)
    deps = replace(plain.engine.deps, settings=replace(plain.engine.deps.settings, rate_limit=3))
    app = create_app(deps, send=plain.engine.send, broker_answers=lambda: True)
    strict = Api(app=app, engine=plain.engine, key=None)
    for status in (404, 404, 404, 429):
        assert strict.post("/api/hooks/guess", {}).status_code == status
    refused = come(strict, made, {"amount": 1})
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    for number, status in ((1, 202), (2, 202), (3, 202), (4, 429)):
        elsewhere = {"REMOTE_ADDR": f"10.0.0.{number}"}
        assert come(strict, made, {"amount": 1}, environ_base=elsewhere).status_code == status


def test_bodies_that_are_refused(plain: Api) -> None:
    made = hook(plain)
    most = plain.engine.deps.settings.max_body_bytes
    for body, headers, status in (
        (b"{", {}, 400),
        (b'{"amount": 1}', {"Content-Type": "text/plain"}, 415),
        (b'{"amount": 1}', {"Content-Encoding": "gzip"}, 415),
        (b'{"amount": 1, "amount": 2}', {}, 422),
        (b"[" * 100_000, {}, 422),
        (b'{"a": "\\u0000"}', {}, 422),
        (b'{"a": "' + b"x" * most + b'"}', {}, 413),
        (b"payload=%FF", {"Content-Type": "application/x-www-form-urlencoded"}, 400),
        (b"payload=%7B", {"Content-Type": "application/x-www-form-urlencoded"}, 400),
        (b"&".join(b"a=b" for _ in range(2_000)), {"Content-Type": "application/x-www-form-urlencoded"}, 400),
        (b"a=%00", {"Content-Type": "application/x-www-form-urlencoded"}, 422),
    ):
        assert come(plain, made, body, headers).status_code == status, (body[:40], headers)
    assert nothing_came(plain)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda found: found.encode("utf-8", "surrogatepass")),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        ).map(lambda found: json.dumps(found).encode()),
    ),
    form=st.booleans(),
)
def test_whatever_comes_is_answered(plain: Api, body: bytes, form: bool) -> None:
    found = plain.done(plain.get("/api/hooks"))["items"]
    mapping = {"amount": "{{size(string(body))}}", "whole": "{{body.a.b[0]?}}"}
    made = found[0] if found else hook(plain, mapping=mapping)
    media = "application/x-www-form-urlencoded" if form else "application/json"
    assert come(plain, made, body, {"Content-Type": media}).status_code in (202, 400, 422)
