"""`orchestrator run`: a definition file to a finished run."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli import given, local, out
from orchestrator.cli.connection import connect
from orchestrator.cli.follow import follow, report, succeeded
from orchestrator.client import Client, Conflict
from orchestrator.client.workflow_answers import Written


@click.command()
@local.file_argument
@click.option("-i", "--input", "inputs", multiple=True, metavar="KEY=VALUE", help="An input, or @FILE.json.")
@click.option("--var", "variables", multiple=True, metavar="KEY=VALUE", help="A workflow variable.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label to find the run by.")
@click.option("--priority", type=int, help="Higher goes first.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@out.json_option
@click.pass_context
def run(
    ctx: click.Context,
    file: Path,
    inputs: tuple[str, ...],
    variables: tuple[str, ...],
    labels: tuple[str, ...],
    priority: int | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Run the workflow of a definition FILE (YAML, JSON or Python) and show its steps live.

    The workflow is created, or gets a new version where the name exists and the content is new.
    The value of an input is JSON where it is that, else text; @FILE.json gives a whole object.
    A Python file is run here; FILE.py:NAME takes one of its workflows.
    Ends with 0 only when the run ends in success.
    """
    trigger: dict[str, Any] = {
        "inputs": given.pairs(inputs, "--input"),
        "variables": given.pairs(variables, "--var"),
        "labels": given.texts(labels, "--label"),
        "priority": priority,
    }
    client = connect()
    workflow = define(client, file)
    if not as_json:
        click.echo(f"{workflow['name']} version {workflow['version']}", err=True)
    started = client.runs.start(workflow["name"], **trigger)
    if detach:
        out.print_json(started) if as_json else click.echo(started["id"])
        return
    _finish(ctx, client, started["id"], as_json)


def define(client: Client, file: Path) -> Written:
    """The workflow of a definition file, at the version that has the file's content."""
    source = local.read(file)
    try:
        return client.workflows.create(source)
    except Conflict:
        return client.workflows.update(local.parse(file, source).data["name"], source)


def _finish(ctx: click.Context, client: Client, run_id: str, as_json: bool) -> None:
    try:
        ended = follow(client, run_id, quiet=as_json)
    except KeyboardInterrupt:
        click.echo(f"\nThe run goes on. See it with: orchestrator watch {run_id}", err=True)
        ctx.exit(130)
    out.print_json(ended) if as_json else report(ended)
    ctx.exit(0 if succeeded(ended) else 1)
