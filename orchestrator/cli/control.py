"""`orchestrator pause`, `resume`, `abort`: control of one run."""

from typing import Any

import click

from orchestrator.cli import given, out
from orchestrator.cli.client import connect, segment

_reason = click.option("--reason", help="Why; it is kept with the act.")


@click.command()
@click.argument("run")
@_reason
@out.json_option
def pause(run: str, reason: str | None, as_json: bool) -> None:
    """Let what runs end and start nothing new."""
    _act(run, "pause", {"reason": reason} if reason else {}, as_json)


@click.command()
@click.argument("run")
@click.option("-i", "--input", "inputs", multiple=True, metavar="KEY=VALUE", help="What the pause asked for.")
@click.option("--budget", type=click.IntRange(1), metavar="CENTS", help="A new limit for the run.")
@out.json_option
def resume(run: str, inputs: tuple[str, ...], budget: int | None, as_json: bool) -> None:
    """Go on with a paused RUN."""
    body: dict[str, Any] = {"input": given.pairs(inputs, "--input")} if inputs else {}
    if budget is not None:
        body["budget"] = {"limit_cents": budget}
    _act(run, "resume", body, as_json)


@click.command()
@click.argument("run")
@_reason
@out.json_option
def abort(run: str, reason: str | None, as_json: bool) -> None:
    """Stop a RUN for good: what runs is stopped, what waits is skipped."""
    _act(run, "abort", {"reason": reason} if reason else {}, as_json)


def _act(run: str, action: str, body: dict[str, Any], as_json: bool) -> None:
    answer = connect().send("POST", f"/api/runs/{segment(run)}/{action}", body)
    out.print_json(answer) if as_json else click.echo(f"{run} is {answer['status']}")
