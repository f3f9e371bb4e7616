"""`orchestrator up`: everything under one supervisor."""

from dataclasses import replace
from pathlib import Path

import click

from orchestrator.settings import load


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Default: .orchestrator")
@click.option("--workers", type=click.IntRange(2), default=2, help="One for control, the others for steps.")
@click.option("--gateway/--no-gateway", default=True, help="Run the local gateway, which plays the agents.")
def up(host: str, port: int, data_dir: Path | None, workers: int, gateway: bool) -> None:
    """Run API, workers, beat and local gateway in the foreground, with embedded stores where none are set.

    Prints one line READY and the address when everything answers. SIGTERM or Ctrl-C drains and stops it.
    """
    from orchestrator.supervisor.up import Options
    from orchestrator.supervisor.up import up as supervise

    settings = load()
    if data_dir is not None:
        settings = replace(settings, data_dir=data_dir)
    supervise(
        settings,
        Options(host=host, port=port, workers=workers, gateway=gateway),
        ready=lambda url: click.echo(f"READY {url}"),
        say=lambda line: click.echo(line, err=True),
    )
