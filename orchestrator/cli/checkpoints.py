"""`orchestrator checkpoints`, `restore`, `fork`: positions of a run, going back to one, a new run out of one."""

import click

from orchestrator.cli import given, out
from orchestrator.cli.connection import connect

_reason = click.option("--reason", default="", help="Why; it is kept with the act.")


@click.command()
@click.argument("run")
@click.option("--create", metavar="NAME", help="Name the present position.")
@_reason
@out.json_option
def checkpoints(run: str, create: str | None, reason: str, as_json: bool) -> None:
    """List the checkpoints of a RUN, or make one."""
    runs = connect().runs
    found = list(runs.checkpoints(run)) if create is None else [runs.checkpoint(run, create, reason=reason)]
    if as_json:
        out.print_json(found)
        return
    rows = [(each["name"], each["seq"], each["at"], each["actor"], each["reason"]) for each in found]
    out.print_table(("name", "event", "at", "by", "reason"), rows, empty="There is no checkpoint yet.")


@click.command()
@click.argument("run")
@click.argument("checkpoint")
@_reason
@click.option("--budget", type=click.IntRange(1), metavar="CENTS", help="A new limit for a run that goes on by this.")
@out.json_option
def restore(run: str, checkpoint: str, reason: str, budget: int | None, as_json: bool) -> None:
    """Bring a RUN back to a CHECKPOINT, or to an event's number; an ended run goes on."""
    after = connect().runs.restore(run, checkpoint, reason=reason, limit_cents=budget)
    out.print_json(after) if as_json else click.echo(f"{after['id']} is {after['status']}")


@click.command()
@click.argument("run")
@click.option("--from-step", metavar="STEP", help="Do this step and all behind it again.")
@click.option("--checkpoint", metavar="NAME", help="Go on from this checkpoint.")
@click.option("--seq", type=click.IntRange(1), metavar="N", help="Go on from after this event.")
@click.option("-i", "--input", "inputs", multiple=True, metavar="KEY=VALUE", help="An input that is to be different.")
@click.option("-v", "--variable", "variables", multiple=True, metavar="KEY=VALUE", help="A variable, likewise.")
@_reason
@out.json_option
def fork(
    run: str,
    from_step: str | None,
    checkpoint: str | None,
    seq: int | None,
    inputs: tuple[str, ...],
    variables: tuple[str, ...],
    reason: str,
    as_json: bool,
) -> None:
    """Start a run from a position of a RUN: what was done by then is taken over, and not paid again."""
    forked = connect().runs.fork(
        run,
        from_step=from_step,
        checkpoint=checkpoint,
        seq=seq,
        inputs=given.pairs(inputs, "--input") if inputs else None,
        variables=given.pairs(variables, "--variable") if variables else None,
        reason=reason,
    )
    out.print_json(forked) if as_json else click.echo(f"{forked['id']} is {forked['status']}")
