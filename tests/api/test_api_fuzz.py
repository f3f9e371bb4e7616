"""Whatever is sent, nothing breaks: every answer is a success or a problem document."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import DISPATCHED, ROUTED, Api

FIELDS = st.sampled_from(
    [
        "name", "nodes", "edges", "inputs", "id", "type", "retry", "when", "labels", "variables", "overrides",
        "budget", "limit_cents", "version", "scopes", "reason", "input", "compensate", "from", "to", "expression",
        "signal", "key", "data", "comment",
        "set", "output", "timeout", "max", "initial", "action", "filter", "label", "status", "cursor", "limit",
        "role", "capabilities", "files", "gateway", "status", "queued_task_count", "grace_seconds", "heartbeat",
        "text", "output", "usage", "error", "message", "code", "details", "kind", "url", "token", "default",
        "events", "secret", "since", "enabled",
    ]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["noop", "agent", "a", "{{a.b}}", "{{", "inputs.x > 1", "a >> b", "read", "30s", "\0", "\ud800"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
WRITES = st.sampled_from(
    [
        ("POST", "/api/workflows"), ("POST", "/api/workflows/validate"), ("PUT", "/api/workflows/triage"),
        ("POST", "/api/workflows/triage/rollback"), ("POST", "/api/workflows/triage/runs"),
        ("POST", "/api/keys"), ("POST", "/api/workspaces"), ("POST", "/api/runs/{run}/pause"),
        ("POST", "/api/runs/{run}/resume"), ("POST", "/api/runs/{run}/abort"),
        ("POST", "/api/runs/{run}/signal"), ("POST", "/api/signals"), ("POST", "/api/approvals/{run}/approve"),
        ("POST", "/api/approvals/{run}/links"), ("POST", "/api/approval-links/{run}/reject"),
        ("POST", "/api/runs/{run}/variables"), ("POST", "/api/runs/bulk"),
        ("POST", "/api/runs/{run}/steps/first/override"), ("POST", "/api/runs/{run}/steps/first/skip"),
        ("POST", "/api/runs/{run}/steps/first/complete"), ("POST", "/api/runs/{run}/steps/first/rerun"),
        ("POST", "/api/agents/register"), ("PATCH", "/api/agents/mine"), ("POST", "/api/agents/mine/heartbeat"),
        ("POST", "/api/agents/mine/rotate-key"), ("POST", "/api/agents/mine/work/x/complete"),
        ("POST", "/api/agents/mine/work/x/fail"), ("POST", "/api/gateways"), ("PATCH", "/api/gateways/hub"),
        ("POST", "/api/webhooks"), ("PATCH", "/api/webhooks/{run}"), ("POST", "/api/webhooks/{run}/rotate-secret"),
        ("POST", "/api/webhooks/{run}/replay-missing"), ("POST", "/api/webhooks/{run}/deliveries/{run}/replay"),
    ]
)  # fmt: skip
TOKENS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LISTS = st.sampled_from(
    [
        "/api/workflows",
        "/api/runs",
        "/api/runs/{run}/events",
        "/api/runs/{run}/steps",
        "/api/keys",
        "/api/workspaces",
        "/api/approvals",
        "/api/agents",
        "/api/gateways",
        "/api/webhooks",
        "/api/webhooks/dead-letters",
    ]
)
QUIET = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def run(api: Api) -> str:
    api.define(ROUTED)
    api.define(DISPATCHED)
    api.enrolled("mine")
    api.done(api.post("/api/gateways", {"name": "hub", "kind": "local"}), 201)
    return str(api.done(api.post("/api/workflows/dispatched/runs", {"inputs": {"n": 1}}), 202)["id"])


@QUIET
@given(write=WRITES, body=VALUES)
def test_no_body_breaks_anything(api: Api, run: str, write: tuple[str, str], body: Any) -> None:
    method, path = write
    answer = api.call(method, path.format(run=run), data=json.dumps(body), content_type="application/json")

    assert answer.status_code in (200, 201, 202, 404, 409, 422, 429), answer.text


@QUIET
@given(
    write=WRITES, body=st.binary(max_size=60), media=st.sampled_from(["application/json", "application/yaml"])
)
def test_no_bytes_break_anything(api: Api, run: str, write: tuple[str, str], body: bytes, media: str) -> None:
    method, path = write
    answer = api.call(method, path.format(run=run), data=body, content_type=media)

    assert answer.status_code < 500, answer.text


@QUIET
@given(
    path=LISTS,
    name=st.sampled_from(
        ["limit", "cursor", "after", "status", "label", "parent", "workflow", "role", "capability", "gateway"]
    ),
    value=TOKENS,
)
def test_no_query_breaks_anything(api: Api, run: str, path: str, name: str, value: str) -> None:
    answer = api.call("GET", path.format(run=run), query_string={name: value})

    assert answer.status_code in (200, 422), answer.text


@QUIET
@given(name=TOKENS)
def test_no_name_breaks_anything(api: Api, run: str, name: str) -> None:
    for path in (
        f"/api/workflows/{name}",
        f"/api/runs/{run}/steps/{name}",
        f"/api/runs/{name}",
        f"/api/keys/{name}",
        f"/api/agents/{name}",
        f"/api/gateways/{name}",
    ):
        assert api.call("GET", path).status_code < 500
    assert api.post(f"/api/agents/mine/work/{name}/renew").status_code < 500


@QUIET
@given(
    name=st.sampled_from(["Authorization", "Idempotency-Key", "Last-Event-ID", "Accept", "Content-Type"]),
    value=TOKENS,
)
def test_no_header_breaks_anything(api: Api, run: str, name: str, value: str) -> None:
    text = value.encode().decode("latin-1").replace("\r", "").replace("\n", "")

    answer = api.call(
        "POST", f"/api/runs/{run}/pause", data=b"{}", headers={"Content-Type": "application/json", name: text}
    )

    assert answer.status_code < 500, answer.text
