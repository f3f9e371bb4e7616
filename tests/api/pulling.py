"""A workflow of agent steps, and agents that pull them."""

from typing import Any

from orchestrator.services import sweeps
from tests.api.conftest import Api
from tests.support import attempts, offers
from tests.support.engine import Engine
from tests.support.histories import execute

WANTED = {"role": "worker", "capabilities": ["web"]}


TASK = {"title": "Look {{inputs.what}} up", "description": "at once", "priority": "high", "tags": ["a", "b"]}


def define(api: Api, *names: str, retry: Any = None) -> None:
    nodes = [
        {
            "id": name,
            "type": "agent",
            "role": "worker",
            "capabilities": ["web"],
            "task": TASK,
            "input_mapping": {"topic": "{{inputs.what}}"},
            **({} if retry is None else {"retry": retry}),
        }
        for name in names
    ]
    api.define({"name": "pulled", "nodes": nodes})


def started(api: Api, *paths: str, wanted: Any = None, rank: int = 0) -> str:
    """A run whose agent steps wait to be pulled."""
    run = api.run("pulled", inputs={"what": "ants"})
    for path in paths or ("ask",):
        offers.offer(
            api.engine.deps, api.engine.actor.workspace_id, run["id"], path, **(wanted or WANTED), rank=rank
        )
    return str(run["id"])


def pull(own: Api, name: str = "puller", status: int = 200, **query: Any) -> Any:
    answer = own.call("POST", f"/api/agents/{name}/work", query_string=query)
    assert answer.status_code == status, answer.text
    return answer.get_json() if status != 204 else None


def end(own: Api, taken: Any, act: str, body: Any, status: int = 200, name: str = "puller") -> Any:
    return own.done(own.post(f"/api/agents/{name}/work/{taken['lease_token']}/{act}", body), status)


def lapse(engine: Engine) -> None:
    """All leases ran out, and the sweep has seen it."""
    execute(engine, "UPDATE work SET lease_until = :at WHERE claimed_by IS NOT NULL", at=attempts.long_ago(engine))
    engine.send(sweeps.run(engine.deps, "agents").effects)


def puller(api: Api) -> Api:
    """An agent that pulls, and a workflow with one step for it."""
    define(api, "ask")
    return api.enrolled("puller", capabilities=["web", "pdf"])[0]
