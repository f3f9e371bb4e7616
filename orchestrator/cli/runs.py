"""`orchestrator runs`: the list of runs, newest first."""

import click

from models.states import RunStatus
from orchestrator.cli import given, out
from orchestrator.cli.client import connect


@click.command()
@click.option("--workflow", help="Of this workflow only.")
@click.option("--status", type=click.Choice([status.value for status in RunStatus]))
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="With this label only.")
@click.option("--parent", metavar="RUN", help="Called by this run only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@out.json_option
def runs(
    workflow: str | None,
    status: str | None,
    labels: tuple[str, ...],
    parent: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    wanted = [f"{key}:{value}" for key, value in given.texts(labels, "--label").items()]
    filters = {"workflow": workflow, "status": status, "label": wanted or None, "parent": parent}
    found = list(connect().pages("/api/runs", limit, **filters))
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
