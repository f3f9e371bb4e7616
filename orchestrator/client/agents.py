"""`client.agents`: who does agent steps; what an agent calls itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.client.agent_answers import (
    Agent,
    AgentStatus,
    AgentSummary,
    EndedWork,
    Lease,
    Registered,
    Rotated,
    Work,
)
from orchestrator.client.transport import Transport, segment


class Agents:
    """Agents, by id or name. An agent's own key makes the calls of that agent."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def register(
        self,
        name: str,
        role: str,
        capabilities: Sequence[str] = (),
        *,
        level: str | None = None,
        session_key: str | None = None,
        workspace_path: str | None = None,
        gateway: str | None = None,
        max_concurrent: int | None = None,
        rate_limit: int | None = None,
        files: Mapping[str, str] | None = None,
        heartbeat: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Registered:
        """Enrol an agent, or bring a known one up to date; `api_key` is shown this once, None for a known one.

        What is None is left as it is. Raises Conflict where the name is another's.
        """
        given = {
            "name": name,
            "role": role,
            "capabilities": list(capabilities),
            "level": level,
            "session_key": session_key,
            "workspace_path": workspace_path,
            "gateway": gateway,
            "max_concurrent": max_concurrent,
            "rate_limit": rate_limit,
            "files": files,
            "heartbeat": heartbeat,
        }
        made: Registered = self._transport.write(
            "POST", "/api/agents/register", _known(given), idempotency_key=idempotency_key
        )
        return made

    def list(
        self,
        limit: int | None = None,
        *,
        status: AgentStatus | None = None,
        role: str | None = None,
        capability: str | None = None,
        gateway: str | None = None,
    ) -> Iterator[AgentSummary]:
        """Agents by name, those that fit all that is given."""
        return self._transport.pages(
            "/api/agents", limit, status=status, role=role, capability=capability, gateway=gateway
        )

    def get(self, agent: str) -> Agent:
        """An agent with its workspace files."""
        found: Agent = self._transport.get(_path(agent))
        return found

    def update(self, agent: str, changes: Mapping[str, Any]) -> Agent:
        """Change what is given, such as `{"status": "stopped"}`; None empties a member."""
        changed: Agent = self._transport.write("PATCH", _path(agent), dict(changes))
        return changed

    def delete(self, agent: str) -> Agent:
        """Remove an agent: its keys end, what waits for it is routed anew."""
        removed: Agent = self._transport.write("DELETE", _path(agent))
        return removed

    def heartbeat(
        self, agent: str, *, status: AgentStatus | None = None, queued_task_count: int | None = None
    ) -> Agent:
        """Say that an agent is there. Raises RateLimited for the seventh in a minute."""
        said = _known({"status": status, "queued_task_count": queued_task_count})
        heard: Agent = self._transport.write("POST", f"{_path(agent)}/heartbeat", said)
        return heard

    def rotate_key(self, agent: str, *, grace_seconds: int = 60) -> Rotated:
        """Make an agent's new key, shown this once; the others work through the grace, 300 seconds at most."""
        body = {"grace_seconds": grace_seconds}
        made: Rotated = self._transport.write("POST", f"{_path(agent)}/rotate-key", body)
        return made

    def work(self, agent: str, *, wait: int = 0) -> Work | None:
        """Take the next work of an agent that pulls, None when none came within `wait` seconds (30 at most)."""
        taken: Work | None = self._transport.write(
            "POST", f"{_path(agent)}/work", params={"wait": wait or None}, hold=wait
        )
        return taken

    def renew(self, agent: str, lease_token: str) -> Lease:
        """Keep work for another lease. Raises Conflict where the lease is over."""
        renewed: Lease = self._transport.write("POST", _lease(agent, lease_token, "renew"))
        return renewed

    def complete(
        self,
        agent: str,
        lease_token: str,
        text: str | None = None,
        *,
        output: Any = None,
        usage: Mapping[str, int] | None = None,
        model: str | None = None,
    ) -> EndedWork:
        """End work with its text, its output, or both. Raises Conflict where the lease is over."""
        body = _known({"text": text, "output": output, "usage": usage, "model": model})
        ended: EndedWork = self._transport.write("POST", _lease(agent, lease_token, "complete"), body)
        return ended

    def fail(
        self,
        agent: str,
        lease_token: str,
        message: str,
        *,
        code: str | None = None,
        transient: bool | None = None,
        details: Any = None,
    ) -> EndedWork:
        """Give work up; the step's retry policy decides what follows. Raises Conflict where the lease is over."""
        error = _known({"message": message, "code": code, "transient": transient, "details": details})
        ended: EndedWork = self._transport.write("POST", _lease(agent, lease_token, "fail"), {"error": error})
        return ended


def _path(agent: str) -> str:
    return f"/api/agents/{segment(agent)}"


def _lease(agent: str, token: str, act: str) -> str:
    return f"{_path(agent)}/work/{segment(token)}/{act}"


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
