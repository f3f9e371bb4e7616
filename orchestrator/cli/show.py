"""`orchestrator show`: a run with its steps."""

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect
from orchestrator.cli.follow import report
from orchestrator.client.answers import Attempt, Run, Step, StepWithAttempts


@click.command()
@click.argument("run")
@click.argument("step", required=False)
@out.json_option
def show(run: str, step: str | None, as_json: bool) -> None:
    """Show a RUN and its steps, or one STEP of it with input, output and every attempt."""
    client = connect()
    if step is not None:
        one = client.runs.step(run, step)
        out.print_json(one) if as_json else _print_step(one)
        return
    found = client.runs.get(run, steps=True)
    out.print_json(found) if as_json else _print_run(found)


def _print_run(run: Run) -> None:
    report(run)
    click.echo("inputs:")
    out.print_json(run["inputs"])
    rows = [
        (
            f"{out.MARKS[step['status']][0]} {step['path']}",
            step["type"],
            step["status"],
            step["attempts"],
            out.took(step["started_at"], step["finished_at"]),
            out.dollars(step["cost_microcents"]),
            _result(step),
        )
        for step in run["steps"]
    ]
    out.print_table(("step", "type", "status", "attempts", "took", "cost", "result"), rows, empty="No steps.")


def _result(step: Step) -> str:
    error = step["error"]
    if error:
        return out.brief(f"{error['code']}: {error['message']}")
    if step.get("waiting_for"):
        return out.brief(f"waits for {step['waiting_for']}")
    output = "" if step.get("output") is None else out.brief(step["output"])
    return f"degraded: {output}" if step.get("degraded") else output


def _print_step(step: StepWithAttempts) -> None:
    click.echo(f"{out.MARKS[step['status']][0]} {step['path']} ({step['type']}) {step['status']}")
    click.echo(f"attempts {step['attempts']}, cost {out.dollars(step['cost_microcents'])}")
    if step.get("degraded"):
        click.echo("degraded: it failed, and succeeded with what its degrade says")
    if step.get("waiting_for"):
        click.echo(f"waits for {step['waiting_for']}")
    for name in ("route", "input", "output", "error", "agent", "model", "tokens", "called_run_id"):
        if step.get(name) is not None:
            click.echo(f"{name}:")
            out.print_json(step[name])
    rows = [
        (entry["attempt"], entry["status"], out.took(entry["started_at"], entry["finished_at"]), _why(entry))
        for entry in step.get("attempt_log") or ()
    ]
    out.print_table(("attempt", "status", "took", "error"), rows, empty="No attempts.")


def _why(entry: Attempt) -> str:
    error = entry.get("error")
    return f"{error['code']}: {error['message']}" if error else ""
