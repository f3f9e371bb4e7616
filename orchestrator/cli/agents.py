"""`orchestrator agents` and `orchestrator gateways`: who does agent steps, and where."""

from datetime import UTC, datetime
from typing import get_args

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect
from orchestrator.client.agent_answers import AgentStatus

_NO_AGENTS = "No agents. They enrol with POST /api/agents/register and a key: orchestrator keys create --scopes agent"
_NO_GATEWAYS = "No gateways. Make one with POST /api/gateways"


@click.command()
@click.option("--status", type=click.Choice(get_args(AgentStatus)))
@click.option("--role", help="Of this role only.")
@click.option("--capability", help="With this capability only.")
@click.option("--gateway", help="At this gateway only, by name or id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@out.json_option
def agents(
    status: AgentStatus | None,
    role: str | None,
    capability: str | None,
    gateway: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List agents by name, with what they do now."""
    found = list(
        connect().agents.list(limit, status=status, role=role, capability=capability, gateway=gateway)
    )
    if as_json:
        out.print_json(found)
        return
    rows = [
        (
            agent["name"],
            agent["role"],
            agent["status"],
            _load(agent["load"], agent["max_concurrent"]),
            agent["queued_task_count"],
            agent["gateway"] or "pulls",
            _ago(agent["heartbeat_at"]),
        )
        for agent in found
    ]
    columns = ("agent", "role", "status", "load", "queued", "gateway", "last heard")
    out.print_table(columns, rows, empty=_NO_AGENTS)


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@out.json_option
def gateways(limit: int, as_json: bool) -> None:
    """List gateways by name, with how they were when they were last asked."""
    found = list(connect().gateways.list(limit))
    if as_json:
        out.print_json(found)
        return
    rows = [
        (
            gateway["name"],
            gateway["kind"],
            gateway["url"],
            gateway["status"],
            "default" if gateway["default"] else "",
            gateway["version"],
            _ago(gateway["checked_at"]),
            gateway["error"],
        )
        for gateway in found
    ]
    columns = ("gateway", "kind", "url", "status", "", "version", "last asked", "error")
    out.print_table(columns, rows, empty=_NO_GATEWAYS)


def _load(load: int, most: int | None) -> str:
    return str(load) if most is None else f"{load} of {most}"


def _ago(at: str | None) -> str:
    if at is None:
        return "never"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    return f"{out.span(max(0.0, seconds))} ago"
