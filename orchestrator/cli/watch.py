"""`orchestrator watch`: a run live, from its beginning to its end."""

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect
from orchestrator.cli.follow import follow, report, succeeded


@click.command()
@click.argument("run")
@out.json_option
@click.pass_context
def watch(ctx: click.Context, run: str, as_json: bool) -> None:
    """Follow a RUN until it ends; ends with 0 only when it succeeded."""
    ended = follow(connect(), run, quiet=as_json)
    out.print_json(ended) if as_json else report(ended)
    ctx.exit(0 if succeeded(ended) else 1)
