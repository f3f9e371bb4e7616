"""Bodies that are refused before anything looks at them."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pytest

from api.app import create_app
from orchestrator.services import keys
from orchestrator.settings import Settings
from tests.api.conftest import DISPATCHED, Api
from tests.support.engine import Engine

JSON = "application/json"
DEFINE, TRIGGER = "/api/workflows", "/api/workflows/dispatched/runs"


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def defined(api: Api) -> Api:
    api.define(DISPATCHED)
    return api


@pytest.mark.parametrize("path", [DEFINE, TRIGGER])
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a":}',
        b"nonsense",
        b'{"a": 1} {"b": 2}',
        b"\xff\xfe{\x00}\x00",
        b'{"a": "\xff"}',
        b"{'a': 1}",
    ],
)
def test_what_is_no_json_is_a_bad_request(defined: Api, path: str, body: bytes) -> None:
    answer = defined.call("POST", path, data=body, content_type=JSON)

    assert answer.status_code == 400
    assert answer.get_json()["code"] == "MALFORMED"


def test_what_is_no_yaml_is_a_bad_request(defined: Api) -> None:
    answer = defined.call("POST", DEFINE, data=b"name: [unclosed\nnodes: }", content_type="application/yaml")

    assert answer.status_code == 400


@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "",
    ],
)
def test_another_content_type_is_unsupported(defined: Api, media: str) -> None:
    for path in (DEFINE, TRIGGER, "/api/keys"):
        assert defined.call("POST", path, data=b"{}", content_type=media).status_code == 415, path


def test_yaml_is_for_definitions_alone(defined: Api) -> None:
    assert defined.call("POST", TRIGGER, data=b"{}", content_type="application/yaml").status_code == 415


def test_compressed_bodies_are_unsupported(defined: Api) -> None:
    answer = defined.call(
        "POST", TRIGGER, data=b"{}", content_type=JSON, headers={"Content-Encoding": "gzip"}
    )

    assert answer.status_code == 415


@pytest.fixture
def narrow(engine: Engine, api_settings: Settings) -> Api:
    """An API that takes 2,048 bytes."""
    deps = replace(engine.deps, settings=replace(api_settings, max_body_bytes=2048))
    app = create_app(deps, send=engine.send, broker_answers=lambda: True)
    return Api(app=app, engine=engine, key=keys.bootstrap(deps))


@pytest.mark.parametrize("path", [DEFINE, "/api/keys"])
def test_a_body_over_the_limit_is_too_large(narrow: Api, path: str) -> None:
    answer = narrow.post(path, {"name": "x" * 3000})
    assert answer.status_code == 413
    assert answer.get_json()["code"] == "TOO_LARGE"


@pytest.mark.parametrize(("size", "status"), [(2048, 201), (2049, 413), (9000, 413)])
def test_a_body_in_chunks_has_the_same_limit(narrow: Api, size: int, status: int) -> None:
    body = json.dumps({"name": "k", "scopes": ["read"]}).encode().ljust(size)
    chunks = {"wsgi.input_terminated": True}
    answer = narrow.call(
        "POST", "/api/keys", input_stream=BytesIO(body), content_type=JSON, environ_overrides=chunks
    )
    assert answer.status_code == status


@pytest.mark.parametrize("path", [DEFINE, TRIGGER, "/api/workflows/validate"])
@pytest.mark.parametrize("levels", [65, 200, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_too_many_levels_are_refused_without_a_crash(
    defined: Api, path: str, levels: int, left: str, right: str
) -> None:
    body = '{"inputs": ' + left * levels + "1" + right * levels + "}"
    answer = defined.call("POST", path, data=body, content_type=JSON)

    assert answer.status_code == 422
    assert answer.get_json()["code"] == "TOO_DEEP"


def test_64_levels_are_taken(defined: Api) -> None:
    body = '{"inputs": {"n": ' + "[" * 62 + "]" * 62 + "}}"

    assert defined.call("POST", TRIGGER, data=body, content_type=JSON).status_code == 202


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ('"a\\u0000b"', "/inputs/n"),
        ('"\\ud800"', "/inputs/n"),
        ("NaN", "/inputs/n"),
        ("Infinity", "/inputs/n"),
        ("1e999", "/inputs/n"),
        ("9223372036854775808", "/inputs/n"),
        ("-9223372036854775809", "/inputs/n"),
        ("9" * 5000, "/inputs/n"),
    ],
)
def test_values_that_no_database_holds_are_refused(defined: Api, value: str, pointer: str) -> None:
    answer = defined.call("POST", TRIGGER, data=f'{{"inputs": {{"n": {value}}}}}', content_type=JSON)

    error = defined.done(answer, 422)["errors"][0]
    assert (error["pointer"], error["code"]) == (pointer, "INVALID_VALUE")
    assert len(answer.text) < 2000


def test_a_key_that_is_there_twice_is_refused(defined: Api) -> None:
    answer = defined.call("POST", TRIGGER, data='{"inputs": {}, "inputs": {"n": 1}}', content_type=JSON)

    assert defined.done(answer, 422)["errors"][0]["pointer"] == "/inputs"


@pytest.mark.parametrize("body", ["[]", '"text"', "7", "null", "true"])
@pytest.mark.parametrize("path", [DEFINE, TRIGGER])
def test_a_body_is_an_object(defined: Api, path: str, body: str) -> None:
    answer = defined.call("POST", path, data=body, content_type=JSON)

    assert defined.done(answer, 422)["errors"][0]["code"] == "INVALID_TYPE"


def test_nothing_at_all_is_an_empty_object(defined: Api) -> None:
    assert defined.call("POST", TRIGGER).status_code == 202
    assert defined.call("POST", "/api/keys").status_code == 422


def test_json_in_other_clothes_is_json(defined: Api) -> None:
    for media in ("application/json; charset=UTF-8", "application/vnd.acme+json"):
        answer = defined.call("POST", TRIGGER, data=json.dumps({"inputs": {"n": 1}}), content_type=media)
        assert answer.status_code == 202


def test_paths_and_queries_with_nul_or_nonsense_find_nothing(defined: Api) -> None:
    for path in ("/api/workflows/a%00b", "/api/runs/%00", "/api/runs/%ff%fe", "/api/runs/x/steps/%00"):
        assert defined.get(path).status_code == 404, path
    assert defined.get("/api/runs", workflow="a\0b").status_code == 422
    assert defined.get("/api/runs", parent="no-id").status_code == 200


def test_other_methods_and_paths_are_problems_too(make_api: Callable[..., Api]) -> None:
    api = make_api()
    refused = api.call("PATCH", "/api/workflows")

    assert refused.status_code == 405
    assert "POST" in refused.headers["Allow"]
    assert api.get("/api/nothing").status_code == 404
    assert api.get("/nothing").status_code == 404
