"""An API over a real database and engine, asked through Flask's test client."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from api.app import create_app
from models.database import Database
from orchestrator.services import keys
from orchestrator.settings import Settings
from tests.support import engine as engines
from tests.support.engine import Engine

SECRET = "a secret key that tests alone use"
ROUTED = {
    "name": "triage",
    "inputs": {
        "type": "object",
        "properties": {"amount": {"type": "integer"}},
        "required": ["amount"],
        "additionalProperties": False,
    },
    "nodes": [
        {"id": "intake", "type": "set", "values": {"seen": "{{inputs.amount}}"}},
        {"id": "route", "type": "condition", "expression": "inputs.amount > 100"},
        {"id": "large", "type": "noop", "input_mapping": {"kind": "large"}},
        {"id": "small", "type": "noop", "input_mapping": {"kind": "small"}},
    ],
    "edges": [
        {"from": "intake", "to": "route"},
        {"from": "route", "to": "large", "handle": "router", "route": "true"},
        {"from": "route", "to": "small", "handle": "router", "route": "false"},
    ],
}
DISPATCHED = {
    "name": "dispatched",
    "nodes": [
        {"id": "first", "type": "transform", "expression": '{"doubled": n * 2}'},
        {"id": "second", "type": "transform", "expression": '{"again": doubled * 2}'},
    ],
    "edges": ["first >> second"],
}


@dataclass(slots=True, kw_only=True)
class Api:
    """Calls as somebody with a key; every answer that is a failure is a problem document."""

    app: Flask
    engine: Engine
    key: str | None
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {**self.headers, **options.pop("headers", {})}
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        answer = self.app.test_client().open(path, method=method, headers=headers, **options)
        if answer.status_code >= 400 and path != "/readyz":
            assert_problem(answer)
        return answer

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.call("GET", path, query_string=query)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        return self.call("POST", path, json={} if body is None else body, **options)

    def put(self, path: str, body: Any, **options: Any) -> TestResponse:
        return self.call("PUT", path, json=body, **options)

    def patch(self, path: str, body: Any, **options: Any) -> TestResponse:
        return self.call("PATCH", path, json=body, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.call("DELETE", path, **options)

    def done(self, answer: TestResponse, status: int = 200) -> Any:
        """The JSON of an answer that must have this status."""
        assert answer.status_code == status, answer.text
        return answer.get_json()

    def define(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.done(self.post("/api/workflows", definition), 201)
        return found

    def run(self, workflow: str, **trigger: Any) -> dict[str, Any]:
        """A run that was carried as far as it goes."""
        started = self.done(self.post(f"/api/workflows/{workflow}/runs", trigger), 202)
        self.engine.drain()
        ended: dict[str, Any] = self.done(self.get(f"/api/runs/{started['id']}"))
        return ended

    def with_key(self, *scopes: str, workspace: str | None = None) -> "Api":
        """The same API as somebody with a new key."""
        body = {"name": "-".join(scopes), "scopes": list(scopes), "workspace": workspace}
        made = self.done(self.post("/api/keys", {k: v for k, v in body.items() if v is not None}), 201)
        return Api(app=self.app, engine=self.engine, key=made["key"])

    def without_key(self) -> "Api":
        return self.using(None)

    def using(self, key: str | None) -> "Api":
        """The same API as whoever has this key."""
        return Api(app=self.app, engine=self.engine, key=key)

    def enrolled(self, name: str, **fields: Any) -> tuple["Api", dict[str, Any]]:
        """An agent that an admin has registered: the API as that agent, and what registration answered."""
        body = {"name": name, "role": "worker", "capabilities": [], **fields}
        made = self.done(self.post("/api/agents/register", body), 201)
        return self.using(made["api_key"]), made

    def elsewhere(self) -> "Api":
        """The same API as an admin of another workspace."""
        self.done(self.post("/api/workspaces", {"name": "elsewhere"}), 201)
        return self.with_key("admin", workspace="elsewhere")


def assert_problem(answer: TestResponse) -> None:
    """The answer is an RFC 9457 document of ours."""
    assert answer.mimetype == "application/problem+json", answer.text
    document = answer.get_json()
    assert set(document) == {"type", "title", "status", "detail", "code", "errors"}
    assert document["status"] == answer.status_code
    for error in document["errors"]:
        assert {"pointer", "code", "message"} <= set(error)


@pytest.fixture
def api_settings(tmp_path: Path) -> Settings:
    """Settings of the API; a module overrides what it is about."""
    return Settings(data_dir=tmp_path / "data", secret_key=SECRET)


@pytest.fixture
def engine(database: Database, api_settings: Settings) -> Engine:
    """The engine behind the API, which a test drains by hand."""
    return engines.make(database, settings=api_settings)


@pytest.fixture
def make_api(engine: Engine) -> Callable[..., Api]:
    """`make_api(broker=True)`: another process's API over the same database."""

    def make(*, broker: bool = True) -> Api:
        app = create_app(engine.deps, send=engine.send, broker_answers=lambda: broker)
        key = keys.bootstrap(engine.deps)
        actor = keys.authenticate(engine.deps, key)
        engine.actor = actor
        return Api(app=app, engine=engine, key=key)

    return make


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    """The API as the first admin."""
    return make_api()
