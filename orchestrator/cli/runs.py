"""`orchestrator runs`: the list of runs, newest first."""

from typing import get_args

import click

from orchestrator.cli import given, out
from orchestrator.cli.connection import connect
from orchestrator.client.answers import RunStatus


@click.command()
@click.option("--workflow", help="Of this workflow only.")
@click.option("--status", type=click.Choice(get_args(RunStatus)))
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="With this label only.")
@click.option("--parent", metavar="RUN", help="Called by this run only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@out.json_option
def runs(
    workflow: str | None,
    status: RunStatus | None,
    labels: tuple[str, ...],
    parent: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    wanted = given.texts(labels, "--label")
    found = list(connect().runs.list(limit, workflow=workflow, status=status, labels=wanted, parent=parent))
    if as_json:
        out.print_json(found)
        return
    rows = [
        (
            run["id"],
            run["workflow"],
            run["version"],
            run["status"],
            run["created_at"][:19].replace("T", " "),
            out.took(run["started_at"], run["finished_at"]),
            out.dollars(run["cost_microcents"]),
        )
        for run in found
    ]
    columns = ("run", "workflow", "version", "status", "created (UTC)", "took", "cost")
    out.print_table(columns, rows, empty="No runs. Start one with: orchestrator run FILE")
