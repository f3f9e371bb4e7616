"""One call for each route by which somebody changes something: how to come to it, and what the audit log says then."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import update

from models.webhook import WebhookDelivery
from tests.api.conftest import Api
from tests.support.probes import probe

NOOP: dict[str, Any] = {"name": "plain", "nodes": [{"id": "a", "type": "noop"}]}
TWO: dict[str, Any] = {"name": "plain", "nodes": [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop"}]}
FAILS: dict[str, Any] = {
    "name": "fails",
    "nodes": [probe("a", does=[{"fail": "TOOL_FAILED"}, {"succeed": {}}])],
}
PARKS: dict[str, Any] = {"name": "parks", "nodes": [probe("hold", does={"wait": "for ever"})]}
UNDOES: dict[str, Any] = {"name": "undoes", "nodes": [{**probe("a"), "compensate": {"type": "noop"}}]}
ASKS: dict[str, Any] = {"name": "asks", "nodes": [{"id": "ask", "type": "approval"}]}
PRICE = {"input_cents_per_million": 1, "output_cents_per_million": 2}
NIGHTLY = {"name": "nightly", "workflow": "plain", "cron": "@daily"}
AGENT = {"name": "ada", "role": "worker", "capabilities": []}
WEBHOOK = {"url": "https://93.184.216.34/events", "events": ["run.*"]}
# Routes that leave no row, and why.
SILENT: Mapping[str, str] = {
    "POST /api/workflows/validate": "stores nothing",
    "POST /api/workflows/<workflow>/test": "stores nothing",
    "POST /api/gateways/<gateway>/ping": "only asks",
    "POST /api/agents/<agent>/heartbeat": "an agent's own call",
    "POST /api/agents/<agent>/work": "an agent's own call",
    "POST /api/agents/<agent>/work/<lease>/renew": "an agent's own call",
    "POST /api/agents/<agent>/work/<lease>/complete": "an agent's own call",
    "POST /api/agents/<agent>/work/<lease>/fail": "an agent's own call",
    "POST /api/callbacks/<token>": "an agent's own call",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A call that is about to be made. reason: what the log gives as the reason. replays: it takes an
    Idempotency-Key."""

    action: str
    path: str
    body: Any = field(default_factory=dict)
    reason: str | None = None
    actor: str = "admin"
    replays: bool = True


Prepare = Callable[[Api], Act]
ACTS: dict[str, Prepare] = {}


def act(route: str) -> Callable[[Prepare], Prepare]:
    """Register how to come to a route, written `POST /api/runs/<run>/pause`."""

    def register(prepare: Prepare) -> Prepare:
        ACTS[route] = prepare
        return prepare

    return register


@act("POST /api/workflows")
def _create(_api: Api) -> Act:
    return Act(action="workflow.create", path="/api/workflows", body=NOOP)


@act("PUT /api/workflows/<workflow>")
def _update(api: Api) -> Act:
    api.define(NOOP)
    return Act(action="workflow.update", path="/api/workflows/plain", body=TWO)


@act("DELETE /api/workflows/<workflow>")
def _archive(api: Api) -> Act:
    api.define(NOOP)
    return Act(action="workflow.archive", path="/api/workflows/plain")


@act("POST /api/workflows/<workflow>/rollback")
def _roll_back(api: Api) -> Act:
    api.define(NOOP)
    api.done(api.put("/api/workflows/plain", TWO))
    return Act(action="workflow.rollback", path="/api/workflows/plain/rollback", body={"version": 1})


@act("POST /api/workflows/<workflow>/runs")
def _trigger(api: Api) -> Act:
    api.define(NOOP)
    return Act(action="run.create", path="/api/workflows/plain/runs", body={"inputs": {"n": 1}})


@act("POST /api/runs/<run>/pause")
def _pause(api: Api) -> Act:
    return Act(action="run.pause", path=f"{parked(api)}/pause", body={"reason": "lunch"}, reason="lunch")


@act("POST /api/runs/<run>/resume")
def _resume(api: Api) -> Act:
    run = parked(api)
    api.done(api.post(f"{run}/pause"))
    return Act(action="run.resume", path=f"{run}/resume")


@act("POST /api/runs/<run>/abort")
def _abort(api: Api) -> Act:
    return Act(action="run.abort", path=f"{parked(api)}/abort", body={"reason": "enough"}, reason="enough")


@act("POST /api/runs/<run>/signal")
def _signal(api: Api) -> Act:
    return Act(action="run.signal", path=f"{parked(api)}/signal", body={"signal": "go", "data": {"a": 1}})


@act("POST /api/runs/<run>/variables")
def _variables(api: Api) -> Act:
    body = {"set": {"x": "secret"}, "reason": "new"}
    return Act(action="run.variables", path=f"{parked(api)}/variables", body=body, reason="new")


@act("POST /api/runs/<run>/compensate")
def _compensate(api: Api) -> Act:
    return Act(action="run.compensate", path=f"{ran(api, UNDOES)}/compensate", body={"reason": "no"}, reason="no")


@act("POST /api/runs/<run>/fork")
def _fork(api: Api) -> Act:
    body = {"from_step": "a", "reason": "what if"}
    return Act(action="run.fork", path=f"{ran(api, NOOP)}/fork", body=body, reason="what if")


@act("POST /api/runs/bulk")
def _bulk(api: Api) -> Act:
    parked(api)
    body = {"action": "abort", "filter": {"workflow": "parks"}, "reason": "all"}
    return Act(action="run.abort", path="/api/runs/bulk", body=body, reason="all")


@act("POST /api/runs/<run>/checkpoints")
def _checkpoint(api: Api) -> Act:
    body = {"name": "here", "reason": "safe"}
    return Act(action="checkpoint.create", path=f"{parked(api)}/checkpoints", body=body, reason="safe")


@act("POST /api/runs/<run>/checkpoints/<name>/restore")
def _restore(api: Api) -> Act:
    path = f"{ran(api, UNDOES)}/checkpoints/after:a/restore"
    return Act(action="run.restore", path=path, body={"reason": "back"}, reason="back")


@act("POST /api/runs/<run>/steps/<path:path>/retry")
def _retry(api: Api) -> Act:
    return Act(action="step.retry", path=f"{ran(api, FAILS)}/steps/a/retry", body={"reason": "up"}, reason="up")


@act("POST /api/runs/<run>/steps/<path:path>/skip")
def _skip(api: Api) -> Act:
    return Act(action="step.skip", path=f"{parked(api)}/steps/hold/skip")


@act("POST /api/runs/<run>/steps/<path:path>/complete")
def _complete(api: Api) -> Act:
    return Act(action="step.complete", path=f"{parked(api)}/steps/hold/complete", body={"output": "secret"})


@act("POST /api/runs/<run>/steps/<path:path>/rerun")
def _rerun(api: Api) -> Act:
    return Act(action="step.rerun", path=f"{ran(api, NOOP)}/steps/a/rerun")


@act("POST /api/runs/<run>/steps/<path:path>/override")
def _override(api: Api) -> Act:
    return Act(action="step.override", path=f"{parked(api)}/steps/hold/override", body={"timeout": "5m"})


@act("POST /api/signals")
def _send(_api: Api) -> Act:
    return Act(action="signal.send", path="/api/signals", body={"signal": "go", "key": "k-1", "data": "secret"})


@act("POST /api/approvals/<approval>/approve")
def _approve(api: Api) -> Act:
    return Act(action="approval.approve", path=f"{asked(api)}/approve", body={"comment": "fine"}, reason="fine")


@act("POST /api/approvals/<approval>/reject")
def _reject(api: Api) -> Act:
    return Act(action="approval.reject", path=f"{asked(api)}/reject")


@act("POST /api/approvals/<approval>/links")
def _link(api: Api) -> Act:
    return Act(action="approval.link", path=f"{asked(api)}/links", body={"name": "bob"})


@act("POST /api/approval-links/<token>/approve")
def _approve_by_link(api: Api) -> Act:
    return Act(action="approval.approve", path=f"{linked(api)}/approve", actor="bob", replays=False)


@act("POST /api/approval-links/<token>/reject")
def _reject_by_link(api: Api) -> Act:
    return Act(action="approval.reject", path=f"{linked(api)}/reject", actor="bob", replays=False)


@act("POST /api/agents/register")
def _register(_api: Api) -> Act:
    return Act(action="agent.register", path="/api/agents/register", body=AGENT)


@act("PATCH /api/agents/<agent>")
def _change_agent(api: Api) -> Act:
    api.done(api.post("/api/agents/register", AGENT), 201)
    return Act(action="agent.update", path="/api/agents/ada", body={"level": "senior"})


@act("DELETE /api/agents/<agent>")
def _remove_agent(api: Api) -> Act:
    api.done(api.post("/api/agents/register", AGENT), 201)
    return Act(action="agent.delete", path="/api/agents/ada")


@act("POST /api/agents/<agent>/rotate-key")
def _rotate(api: Api) -> Act:
    api.done(api.post("/api/agents/register", AGENT), 201)
    return Act(action="agent.rotate_key", path="/api/agents/ada/rotate-key")


@act("POST /api/gateways")
def _create_gateway(_api: Api) -> Act:
    body = {"name": "hub", "url": "ws://127.0.0.1:1", "token": "secret"}
    return Act(action="gateway.create", path="/api/gateways", body=body)


@act("PATCH /api/gateways/<gateway>")
def _change_gateway(api: Api) -> Act:
    api.done(api.post("/api/gateways", {"name": "hub", "kind": "local"}), 201)
    return Act(action="gateway.update", path="/api/gateways/hub", body={"name": "nub", "token": "secret"})


@act("DELETE /api/gateways/<gateway>")
def _remove_gateway(api: Api) -> Act:
    api.done(api.post("/api/gateways", {"name": "hub", "kind": "local"}), 201)
    return Act(action="gateway.delete", path="/api/gateways/hub")


@act("POST /api/keys")
def _create_key(_api: Api) -> Act:
    return Act(action="key.create", path="/api/keys", body={"name": "k", "scopes": ["read"]})


@act("DELETE /api/keys/<key>")
def _revoke_key(api: Api) -> Act:
    made = api.done(api.post("/api/keys", {"name": "k", "scopes": ["read"]}), 201)
    return Act(action="key.revoke", path=f"/api/keys/{made['id']}")


@act("POST /api/workspaces")
def _create_workspace(_api: Api) -> Act:
    return Act(action="workspace.create", path="/api/workspaces", body={"name": "team"})


@act("PATCH /api/workspaces/<workspace>")
def _change_workspace(_api: Api) -> Act:
    return Act(action="workspace.update", path="/api/workspaces/default", body={"run_retention_days": 30})


@act("PUT /api/pools/<pool>")
def _set_pool(_api: Api) -> Act:
    return Act(action="pool.set", path="/api/pools/gpu", body={"size": 2})


@act("DELETE /api/pools/<pool>")
def _remove_pool(api: Api) -> Act:
    api.done(api.put("/api/pools/gpu", {"size": 2}))
    return Act(action="pool.delete", path="/api/pools/gpu")


@act("PUT /api/prices/<path:model>")
def _set_price(_api: Api) -> Act:
    return Act(action="price.set", path="/api/prices/a/b", body=PRICE)


@act("DELETE /api/prices/<path:model>")
def _remove_price(api: Api) -> Act:
    api.done(api.put("/api/prices/a/b", PRICE))
    return Act(action="price.delete", path="/api/prices/a/b")


@act("POST /api/webhooks")
def _create_webhook(_api: Api) -> Act:
    return Act(action="webhook.create", path="/api/webhooks", body=WEBHOOK)


@act("PATCH /api/webhooks/<webhook>")
def _change_webhook(api: Api) -> Act:
    return Act(action="webhook.update", path=hooked(api), body={"description": "another"})


@act("DELETE /api/webhooks/<webhook>")
def _remove_webhook(api: Api) -> Act:
    return Act(action="webhook.delete", path=hooked(api))


@act("POST /api/webhooks/<webhook>/rotate-secret")
def _rotate_secret(api: Api) -> Act:
    return Act(action="webhook.rotate", path=f"{hooked(api)}/rotate-secret")


@act("POST /api/webhooks/<webhook>/test")
def _test_webhook(api: Api) -> Act:
    return Act(action="webhook.test", path=f"{hooked(api)}/test")


@act("POST /api/webhooks/<webhook>/deliveries/<delivery>/replay")
def _replay(api: Api) -> Act:
    path = hooked(api)
    made = api.done(api.post(f"{path}/test"), 202)
    with api.engine.deps.db.transaction() as session:
        session.execute(update(WebhookDelivery).values(status="dead"))
    return Act(action="webhook.replay", path=f"{path}/deliveries/{made['id']}/replay")


@act("POST /api/webhooks/<webhook>/replay-missing")
def _replay_missing(api: Api) -> Act:
    body = {"since": "2026-01-01T00:00:00Z"}
    return Act(action="webhook.replay_missing", path=f"{hooked(api)}/replay-missing", body=body)


@act("POST /api/webhooks/deliveries/<delivery>/replay")
def _replay_by_delivery(api: Api) -> Act:
    of_webhook = _replay(api)
    path = f"/api/webhooks/deliveries/{of_webhook.path.split('/')[-2]}/replay"
    return Act(action="webhook.replay", path=path)


@act("POST /api/webhooks/replay-missing")
def _replay_missing_of_all(api: Api) -> Act:
    hooked(api)
    body = {"since": "2026-01-01T00:00:00Z"}
    return Act(action="webhook.replay_missing", path="/api/webhooks/replay-missing", body=body)


def hooked(api: Api) -> str:
    """The path of a webhook."""
    made = api.done(api.post("/api/webhooks", WEBHOOK), 201)
    return f"/api/webhooks/{made['id']}"


@act("POST /api/schedules")
def _create_schedule(api: Api) -> Act:
    api.define(NOOP)
    return Act(action="schedule.create", path="/api/schedules", body=NIGHTLY)


@act("PATCH /api/schedules/<schedule>")
def _update_schedule(api: Api) -> Act:
    return Act(action="schedule.update", path=scheduled(api), body={"overlap": "allow"})


@act("DELETE /api/schedules/<schedule>")
def _remove_schedule(api: Api) -> Act:
    return Act(action="schedule.delete", path=scheduled(api))


@act("POST /api/schedules/<schedule>/pause")
def _pause_schedule(api: Api) -> Act:
    return Act(action="schedule.pause", path=f"{scheduled(api)}/pause", body={"reason": "lunch"}, reason="lunch")


@act("POST /api/schedules/<schedule>/resume")
def _resume_schedule(api: Api) -> Act:
    path = scheduled(api)
    api.done(api.post(f"{path}/pause"))
    return Act(action="schedule.resume", path=f"{path}/resume")


@act("POST /api/schedules/<schedule>/trigger")
def _trigger_schedule(api: Api) -> Act:
    return Act(action="schedule.trigger", path=f"{scheduled(api)}/trigger", body={"reason": "now"}, reason="now")


@act("POST /api/schedules/<schedule>/backfill")
def _backfill_schedule(api: Api) -> Act:
    body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    return Act(action="schedule.backfill", path=f"{scheduled(api)}/backfill", body=body)


def scheduled(api: Api) -> str:
    """The path of a schedule."""
    api.define(NOOP)
    return f"/api/schedules/{api.done(api.post('/api/schedules', NIGHTLY), 201)['id']}"


def ran(api: Api, definition: dict[str, Any]) -> str:
    """The path of a run that was carried as far as it goes."""
    api.define(definition)
    return f"/api/runs/{api.run(definition['name'])['id']}"


def parked(api: Api) -> str:
    """The path of a run with a step that waits."""
    return ran(api, PARKS)


def asked(api: Api) -> str:
    """The path of an approval that is open."""
    ran(api, ASKS)
    return f"/api/approvals/{api.done(api.get('/api/approvals'))['items'][0]['id']}"


def linked(api: Api) -> str:
    """The path of a link to an approval."""
    made = api.done(api.post(f"{asked(api)}/links", {"name": "bob"}), 201)
    return f"/api/approval-links/{made['token']}"


HOOK = {"name": "incoming", "workflow": "plain"}


@act("POST /api/hooks")
def _create_hook(api: Api) -> Act:
    api.define(NOOP)
    return Act(action="hook.create", path="/api/hooks", body={**HOOK, "scheme": "github"})


@act("PATCH /api/hooks/<hook>")
def _change_hook(api: Api) -> Act:
    incoming(api)
    return Act(action="hook.update", path="/api/hooks/incoming", body={"dedup": "{{body.id}}"})


@act("DELETE /api/hooks/<hook>")
def _remove_hook(api: Api) -> Act:
    incoming(api)
    return Act(action="hook.delete", path="/api/hooks/incoming")


@act("POST /api/hooks/<hook>")
def _call_hook(api: Api) -> Act:
    path = f"/api/hooks/{incoming(api).rpartition('/')[2]}"
    return Act(action="run.create", path=path, body={"n": 1}, actor="incoming", replays=False)


def incoming(api: Api) -> str:
    """The address of a hook."""
    api.define(NOOP)
    return str(api.done(api.post("/api/hooks", HOOK), 201)["url"])
