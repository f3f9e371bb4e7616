"""`orchestrator mermaid`: a definition or a run as a Mermaid diagram."""

import click

from orchestrator.cli import local
from orchestrator.cli.connection import connect


@click.command()
@click.argument("file_or_run")
def mermaid(file_or_run: str) -> None:
    """Draw a definition FILE, with no server, or the run of this id with its statuses."""
    from pathlib import Path

    if local.is_file(file_or_run):
        from orchestrator.core.mermaid import draw

        compiled, types = local.compile_(Path(file_or_run))
        click.echo(draw(compiled.plan, types))
    else:
        click.echo(connect().runs.mermaid(file_or_run))
