"""`orchestrator pause`, `resume`, `abort`: control of one run."""

import click

from orchestrator.cli import given, out
from orchestrator.cli.connection import connect
from orchestrator.client.answers import Run

_reason = click.option("--reason", default="", help="Why; it is kept with the act.")


@click.command()
@click.argument("run")
@_reason
@out.json_option
def pause(run: str, reason: str, as_json: bool) -> None:
    """Let what runs end and start nothing new."""
    _show(connect().runs.pause(run, reason=reason), as_json)


@click.command()
@click.argument("run")
@click.option("-i", "--input", "inputs", multiple=True, metavar="KEY=VALUE", help="What the pause asked for.")
@click.option("--budget", type=click.IntRange(1), metavar="CENTS", help="A new limit for the run.")
@out.json_option
def resume(run: str, inputs: tuple[str, ...], budget: int | None, as_json: bool) -> None:
    """Go on with a paused RUN."""
    answer = given.pairs(inputs, "--input") if inputs else None
    _show(connect().runs.resume(run, input=answer, limit_cents=budget), as_json)


@click.command()
@click.argument("run")
@_reason
@out.json_option
def abort(run: str, reason: str, as_json: bool) -> None:
    """Stop a RUN for good: what runs is stopped, what waits is skipped."""
    _show(connect().runs.abort(run, reason=reason), as_json)


def _show(run: Run, as_json: bool) -> None:
    out.print_json(run) if as_json else click.echo(f"{run['id']} is {run['status']}")
