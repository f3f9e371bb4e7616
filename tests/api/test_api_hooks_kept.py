"""Hooks as admins keep them: made, read, changed, removed; what is refused, and what is stored."""

from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.services import sweeps
from tests.api.conftest import Api
from tests.api.hooks import PLAIN, come, hook, nothing_came, runs


@pytest.fixture
def plain(api: Api) -> Api:
    api.define(PLAIN)
    return api


def test_hooks_are_kept(plain: Api) -> None:
    made = hook(plain, scheme="standard-webhooks")
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert plain.done(plain.get("/api/hooks/incoming")) == shown
    assert plain.done(plain.get("/api/hooks"))["items"] == [shown]
    reader = plain.with_key("read")
    assert reader.done(reader.get("/api/hooks/incoming"))["url"] is None
    assert reader.done(reader.get("/api/hooks"))["items"][0]["url"] is None
    assert reader.post("/api/hooks", {"name": "x", "workflow": "plain"}).status_code == 403
    assert plain.elsewhere().get("/api/hooks/incoming").status_code == 404
    assert plain.post("/api/hooks", {"name": "Incoming", "workflow": "plain"}).status_code == 409
    changed = plain.done(plain.patch("/api/hooks/incoming", {"name": "renamed", "dedup": "{{body.id}}"}))
    assert (changed["name"], changed["dedup"], changed["url"], changed["secret"]) == (
        *("renamed", "{{body.id}}"),
        *(made["url"], None),
    )
    turned = plain.done(plain.patch("/api/hooks/renamed", {"signal": {"name": "s", "key": "k"}, "scheme": "none"}))
    assert (turned["workflow"], turned["signal"], turned["has_secret"]) == (None, {"name": "s", "key": "k"}, False)
    again = plain.done(plain.patch("/api/hooks/renamed", {"workflow": "plain", "scheme": "github"}))
    assert (again["workflow"], again["signal"]) == ("plain", None)
    assert again["secret"]
    assert plain.done(plain.delete("/api/hooks/renamed"))["name"] == "renamed"
    assert plain.get("/api/hooks/renamed").status_code == 404


def test_nothing_secret_is_stored(plain: Api) -> None:
    made = hook(plain, scheme="standard-webhooks")
    key = {"Idempotency-Key": "once"}
    body = {"name": "other", "workflow": "plain", "scheme": "github"}
    other = plain.done(plain.post("/api/hooks", body, headers=key), 201)
    assert plain.done(plain.post("/api/hooks", body, headers=key), 201) == other
    with plain.engine.deps.db.read() as session:
        rows = str(session.execute(text("SELECT * FROM hook")).all())
        rows += str(session.execute(text("SELECT * FROM idempotent_answer")).all())
        rows += str(session.execute(text("SELECT * FROM audit")).all())
    for each in (made, other):
        assert each["secret"] not in rows
        assert each["url"].rpartition("/")[2] not in rows


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"workflow": None}, "/workflow", "MISSING_FIELD"),
        ({"signal": {"name": "s", "key": "k"}}, "/workflow", "MISSING_FIELD"),
        ({"workflow": None, "signal": {"name": "s"}}, "/signal/key", "MISSING_FIELD"),
        ({"workflow": None, "signal": {"name": "s", "key": "k", "run": "r"}}, "/signal/key", "MISSING_FIELD"),
        ({"workflow": None, "signal": {"name": "s", "key": "{{inputs.x}}"}}, "/signal/key", "UNRESOLVED_REFERENCE"),
        ({"workflow": "none"}, "/workflow", "INVALID_VALUE"),
        ({"mapping": {"a": ["{{env.HOME}}"]}}, "/mapping/a/0", "UNRESOLVED_REFERENCE"),
        ({"mapping": {"a": "{{size(}}"}}, "/mapping/a", "INVALID_EXPRESSION"),
        ({"mapping": {"a": "{{size(inputs.x)}}"}}, "/mapping/a", "INVALID_EXPRESSION"),
        ({"dedup": "{{run.id}}"}, "/dedup", "UNRESOLVED_REFERENCE"),
        ({"scheme": "md5"}, "/scheme", "INVALID_VALUE"),
        ({"secret": "x" * 20}, "/secret", "INVALID_VALUE"),
        ({"secret": "whsec_AAAA", "scheme": "standard-webhooks"}, "/secret", "INVALID_VALUE"),
        ({"secret": "short", "scheme": "github"}, "/secret", "INVALID_VALUE"),
        ({"name": "a b"}, "/name", "INVALID_NAME"),
    ],
)
def test_a_hook_that_is_wrong_is_refused(plain: Api, fields: dict[str, Any], pointer: str, code: str) -> None:
    refused = plain.post("/api/hooks", {"name": "incoming", "workflow": "plain", **fields})
    assert refused.status_code == 422
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in refused.get_json()["errors"]]
    assert plain.done(plain.get("/api/hooks"))["items"] == []


def test_an_archived_workflow_takes_nothing(plain: Api) -> None:
    made = hook(plain)
    plain.done(plain.delete("/api/workflows/plain"))
    assert come(plain, made, {"amount": 1}).status_code == 409
    assert nothing_came(plain)


def test_numbers_are_forgotten_after_a_week(plain: Api) -> None:
    made = hook(plain, dedup="{{body.amount}}")
    first = plain.done(come(plain, made, {"amount": 1}), 202)
    at = "created_at - 691200" if plain.engine.deps.db.is_sqlite else "created_at - interval '8 days'"
    with plain.engine.deps.db.transaction() as session:
        session.execute(text(f"UPDATE hook_delivery SET created_at = {at}"))
    plain.done(come(plain, made, {"amount": 2}), 202)
    assert sweeps.run(plain.engine.deps, "answers").found == 1
    assert plain.done(come(plain, made, {"amount": 1}), 202)["id"] != first["id"]
    assert len(runs(plain)) == 3
