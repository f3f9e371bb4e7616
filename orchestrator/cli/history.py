"""`orchestrator history`: a run as one document, to be replayed against other versions in tests."""

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect


@click.command()
@click.argument("run")
def history(run: str) -> None:
    """Print the history of a RUN as JSON, for orchestrator.testing.replay."""
    from orchestrator.core.history import build

    client = connect()
    found = client.runs.get(run)
    version = client.workflows.version(found["workflow"], found["version"])
    out.print_json(
        build(
            found,
            client.runs.steps(run),
            lambda path: client.runs.step(run, path)["attempt_log"],
            client.runs.log(run),
            version["digest"],
        )
    )
