"""Follow a run to its end: a live tree on a terminal, a plain line an event elsewhere."""

import sys

import click

from orchestrator.cli import out
from orchestrator.cli.progress import RUN_EVENTS, STEP_EVENTS, Progress
from orchestrator.client import Client, NotFound
from orchestrator.client.answers import Event, Run


def follow(client: Client, run_id: str, *, quiet: bool = False) -> Run:
    """Show the run until it ends; returns it with its steps. With `quiet` nothing is shown."""
    if quiet:
        client.runs.wait(run_id)
    elif sys.stdout.isatty():
        _live(client, client.runs.get(run_id))
    else:
        for event in client.runs.events(run_id):
            line = _plain(event)
            if line:
                click.echo(line)
    return client.runs.get(run_id, steps=True)


def report(run: Run) -> None:
    """How a run ended, for people: outputs or error, cost, time."""
    mark, _ = out.MARKS[run["status"]]
    click.echo(f"{mark} {run['workflow']} {run['status']}  (run {run['id']})")
    error = run["error"]
    if error:
        where = f" at step {error['step']}" if error["step"] else ""
        click.echo(f"  {error['code']}{where}: {error['message']}")
    if run.get("outputs") is not None:
        click.echo("outputs:")
        out.print_json(run["outputs"])
    seconds = out.took(run.get("started_at"), run.get("finished_at"))
    click.echo(f"cost {out.dollars(run.get('cost_microcents'))}" + (f", {seconds}" if seconds else ""))


def succeeded(run: Run) -> bool:
    return run["status"] == "success"


def _live(client: Client, run: Run) -> None:
    from rich.live import Live

    from orchestrator.cli import tree

    levels = _levels(client, run)
    progress = Progress(f"{run['workflow']} v{run['version']}", [node for level in levels for node in level])
    with Live(get_renderable=lambda: tree.draw(progress, levels), refresh_per_second=8) as live:
        for event in client.runs.events(run["id"]):
            progress.apply(event)
        live.refresh()


def _levels(client: Client, run: Run) -> list[list[str]]:
    """The levels of the run's plan, none where the workflow is gone."""
    from orchestrator.cli import tree

    try:
        return tree.levels_of(client.workflows.plan(run["workflow"], run["version"]))
    except NotFound:
        return []


def _plain(event: Event) -> str | None:
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
