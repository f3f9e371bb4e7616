"""Follow a run to its end: a live tree on a terminal, a plain line an event elsewhere."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from orchestrator.cli import out
from orchestrator.cli.client import ApiError, Client, segment
from orchestrator.cli.progress import RUN_EVENTS, STEP_EVENTS, Progress


def follow(client: Client, run_id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Show the run until it ends; returns it with its steps. With `quiet` nothing is shown."""
    run = client.get(f"/api/runs/{run_id}")
    events = client.events(run_id)
    if quiet:
        for _ in events:
            pass
    elif sys.stdout.isatty():
        _live(client, run, events)
    else:
        for event in events:
            line = _plain(event)
            if line:
                click.echo(line)
    return dict(client.get(f"/api/runs/{run_id}", include="steps"))


def report(run: dict[str, Any]) -> None:
    """How a run ended, for people: outputs or error, cost, time."""
    mark, _ = out.MARKS[run["status"]]
    click.echo(f"{mark} {run['workflow']} {run['status']}  (run {run['id']})")
    if run.get("error"):
        error = run["error"]
        where = f" at step {error['step']}" if error.get("step") else ""
        click.echo(f"  {error['code']}{where}: {error['message']}")
    if run.get("outputs") is not None:
        click.echo("outputs:")
        out.print_json(run["outputs"])
    seconds = out.took(run.get("started_at"), run.get("finished_at"))
    click.echo(f"cost {out.dollars(run.get('cost_microcents'))}" + (f", {seconds}" if seconds else ""))


def succeeded(run: dict[str, Any]) -> bool:
    return bool(run["status"] == "success")


def _live(client: Client, run: dict[str, Any], events: Iterator[dict[str, Any]]) -> None:
    from rich.live import Live

    from orchestrator.cli import tree

    levels = _levels(client, run)
    progress = Progress(f"{run['workflow']} v{run['version']}", [node for level in levels for node in level])
    with Live(get_renderable=lambda: tree.draw(progress, levels), refresh_per_second=8) as live:
        for event in events:
            progress.apply(event)
        live.refresh()


def _levels(client: Client, run: dict[str, Any]) -> list[list[str]]:
    """The plan's levels, none where the workflow has moved on to another version since."""
    from orchestrator.cli import tree

    try:
        workflow = client.get(f"/api/workflows/{segment(run['workflow'])}")
        if workflow["version"] != run["version"]:
            return []
        return tree.levels_of(client.get(f"/api/workflows/{segment(run['workflow'])}/plan"))
    except ApiError as error:
        if error.status != 404:
            raise
        return []


def _plain(event: dict[str, Any]) -> str | None:
    """One event as a line: time, step or run, what it became, why."""
    status = STEP_EVENTS.get(event["type"]) or RUN_EVENTS.get(event["type"])
    if status is None:
        return None
    data = event.get("data") or {}
    error = data.get("error") or {}
    why = f"  {error['code']}: {error['message']}" if error else ""
    if status == "waiting" and data.get("reason"):
        why = f"  for {data['reason']}"
    return f"{event['at'][11:19]}  {event.get('step') or 'run':<24} {status}{why}"
