"""`orchestrator pause`, `resume`, `abort`, `compensate`, `retry`, `skip` …: control of a run and its steps."""

import json

import click

from orchestrator.cli import given, out
from orchestrator.cli.connection import connect
from orchestrator.client.answers import Run

_reason = click.option("--reason", default="", help="Why; it is kept with the act.")

_budget = click.option(
    "--budget", type=click.IntRange(1), metavar="CENTS", help="A new limit for a run that goes on by this."
)


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
@click.option("--compensate", is_flag=True, help="Then undo what it has done.")
@out.json_option
def abort(run: str, reason: str, compensate: bool, as_json: bool) -> None:
    """Stop a RUN for good: what runs is stopped, what waits is skipped."""
    _show(connect().runs.abort(run, reason=reason, compensate=compensate), as_json)


@click.command()
@click.argument("run")
@_reason
@out.json_option
def compensate(run: str, reason: str, as_json: bool) -> None:
    """Undo what an ended RUN has done; what could not be undone before is tried again."""
    _show(connect().runs.compensate(run, reason=reason), as_json)


@click.command()
@click.argument("run")
@click.argument("step")
@_reason
@_budget
@out.json_option
def retry(run: str, step: str, reason: str, budget: int | None, as_json: bool) -> None:
    """Try a failed STEP of a RUN again; an ended run goes on."""
    _show(connect().runs.retry(run, step, reason=reason, limit_cents=budget), as_json)


@click.command()
@click.argument("run")
@click.argument("step")
@_reason
@_budget
@out.json_option
def skip(run: str, step: str, reason: str, budget: int | None, as_json: bool) -> None:
    """Skip a STEP that has failed, waits or has not begun."""
    _show(connect().runs.skip(run, step, reason=reason, limit_cents=budget), as_json)


@click.command()
@click.argument("run")
@click.argument("step")
@click.option("-o", "--output", "pairs", multiple=True, metavar="KEY=VALUE", help="A member of its output.")
@click.option("--output-json", metavar="JSON", help="The whole output, any JSON value.")
@_reason
@_budget
@out.json_option
def complete(
    run: str,
    step: str,
    pairs: tuple[str, ...],
    output_json: str | None,
    reason: str,
    budget: int | None,
    as_json: bool,
) -> None:
    """Let a failed or waiting STEP succeed with an output that you give."""
    output = _output(pairs, output_json)
    _show(connect().runs.complete(run, step, output, reason=reason, limit_cents=budget), as_json)


@click.command()
@click.argument("run")
@click.argument("step")
@_reason
@_budget
@out.json_option
def rerun(run: str, step: str, reason: str, budget: int | None, as_json: bool) -> None:
    """Do an ended STEP and all behind it anew; what is before it is reused."""
    _show(connect().runs.rerun(run, step, reason=reason, limit_cents=budget), as_json)


def _output(pairs: tuple[str, ...], text: str | None) -> object:
    if text is None:
        return given.pairs(pairs, "--output")
    if pairs:
        raise click.UsageError("Give --output or --output-json, not both.")
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no JSON: {error}", param_hint="--output-json") from error
    return found


def _show(run: Run, as_json: bool) -> None:
    out.print_json(run) if as_json else click.echo(f"{run['id']} is {run['status']}")
