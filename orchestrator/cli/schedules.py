"""`orchestrator schedules`: runs that start by the clock."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli import given, out
from orchestrator.cli.connection import connect
from orchestrator.client.schedule_answers import Fire, Schedule, ScheduleSummary

_NONE = "No schedules. Make one with: orchestrator schedules create NAME --workflow W --cron '0 9 * * MON-FRI'"
_reason = click.option("--reason", default="", help="Why, for the audit log.")


@click.group(invoke_without_command=True)
@click.option("--workflow", help="Of this workflow only, by name or id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@out.json_option
@click.pass_context
def schedules(ctx: click.Context, workflow: str | None, limit: int, as_json: bool) -> None:
    """List schedules by name; or make, show, pause, resume, trigger, backfill, delete one."""
    if ctx.invoked_subcommand is None:
        _list(workflow, limit, as_json)


@schedules.command("list")
@click.option("--workflow", help="Of this workflow only, by name or id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@out.json_option
def list_(workflow: str | None, limit: int, as_json: bool) -> None:
    """List schedules by name, with when they fire next."""
    _list(workflow, limit, as_json)


def _list(workflow: str | None, limit: int, as_json: bool) -> None:
    found = list(connect().schedules.list(limit, workflow=workflow))
    if as_json:
        out.print_json(found)
        return
    rows = [
        (
            schedule["name"],
            schedule["workflow"],
            _timing(schedule),
            schedule["timezone"],
            schedule["overlap"],
            _next(schedule),
            _time(schedule["last_fire_at"]),
        )
        for schedule in found
    ]
    columns = ("schedule", "workflow", "fires", "time zone", "overlap", "next (UTC)", "last (UTC)")
    out.print_table(columns, rows, empty=_NONE)


@schedules.command()
@click.argument("name")
@out.json_option
def show(name: str, as_json: bool) -> None:
    """Show a schedule, what it does next and what it did last."""
    _print(connect().schedules.get(name), as_json)


@schedules.command()
@click.argument("name", required=False)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="All of it, in JSON.")
@click.option("--workflow", help="Name or id.")
@click.option("--cron", help="Five fields, or @daily and the like.")
@click.option("--every", "interval", help="An interval: 30s, 5m, 2h, 7d.")
@click.option("--rrule", help="A recurrence rule of RFC 5545.")
@click.option("--timezone", help="An IANA name.  [default: UTC]")
@click.option("-i", "--input", "inputs", multiple=True, metavar="KEY=VALUE", help="An input, or @FILE.json.")
@click.option("--overlap", type=click.Choice(["skip", "queue", "allow", "cancel_previous"]))
@click.option("--catch-up", help="How old a missed fire time may be to be made up.  [default: 1d]")
@click.option("--jitter", help="Up to how much later runs start.")
@out.json_option
def create(name: str | None, file: Path | None, inputs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Make a schedule, by options or from a FILE; an option goes before what the file says.

    Exactly one of --cron, --every and --rrule says when it fires.
    """
    body: dict[str, Any] = {} if file is None else given.pairs([f"@{file}"], "--file")
    body |= {key: value for key, value in options.items() if value is not None}
    if name is not None:
        body["name"] = name
    if inputs:
        body["inputs"] = given.pairs(inputs, "--input")
    for needed in ("name", "workflow"):
        if needed not in body:
            raise click.UsageError(f"The schedule has no {needed}; give it as an option or in the file")
    _print(connect().schedules.create(**body), as_json)


@schedules.command()
@click.argument("name")
@_reason
@out.json_option
def pause(name: str, reason: str, as_json: bool) -> None:
    """Let a schedule fire no more until it is resumed."""
    _tell(connect().schedules.pause(name, reason), as_json)


@schedules.command()
@click.argument("name")
@_reason
@out.json_option
def resume(name: str, reason: str, as_json: bool) -> None:
    """Let a schedule fire from now on."""
    _tell(connect().schedules.resume(name, reason), as_json)


@schedules.command()
@click.argument("name")
@_reason
@out.json_option
def trigger(name: str, reason: str, as_json: bool) -> None:
    """Start a run of a schedule now, beside its plan; prints the run's id."""
    run = connect().schedules.trigger(name, reason)
    out.print_json(run) if as_json else click.echo(run["id"])


@schedules.command()
@click.argument("name")
@click.option("--from", "start", required=True, help="RFC 3339, such as 2026-01-31T00:00:00Z.")
@click.option("--to", "end", required=True, help="RFC 3339; both ends are included.")
@click.option("--max-parallel", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs at once.")
@out.json_option
def backfill(name: str, start: str, end: str, max_parallel: int, as_json: bool) -> None:
    """Make up the fire times of a schedule that have no run."""
    made = connect().schedules.backfill(name, start, end, max_parallel=max_parallel)
    if as_json:
        out.print_json(made)
        return
    click.echo(f"{made['total']} fire times are made up; see them with: orchestrator schedules fires {name}")


@schedules.command()
@click.argument("name")
@click.option("--outcome", type=click.Choice(["started", "queued", "skipped", "refused"]))
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@out.json_option
def fires(name: str, outcome: str | None, limit: int, as_json: bool) -> None:
    """List what became of a schedule's fire times, the latest first."""
    found = list(connect().schedules.fires(name, limit, outcome=outcome))
    out.print_json(found) if as_json else _print_fires(found)


@schedules.command()
@click.argument("name")
@out.json_option
def delete(name: str, as_json: bool) -> None:
    """Remove a schedule; its runs stay."""
    removed = connect().schedules.delete(name)
    out.print_json(removed) if as_json else click.echo(f"{removed['name']} is removed")


def _tell(schedule: Schedule, as_json: bool) -> None:
    if as_json:
        out.print_json(schedule)
    elif schedule["paused"]:
        click.echo(f"{schedule['name']} is paused")
    else:
        click.echo(f"{schedule['name']} fires next at {_next(schedule)} UTC")


def _print(schedule: Schedule, as_json: bool) -> None:
    if as_json:
        out.print_json(schedule)
        return
    counts = schedule["counts"]
    rows = [
        ("schedule", schedule["name"]),
        ("workflow", schedule["workflow"]),
        ("fires", f"{_timing(schedule)} ({schedule['timezone']})"),
        ("next (UTC)", ", ".join(map(_time, schedule["next_fire_times"])) or _next(schedule)),
        ("overlap", schedule["overlap"]),
        ("fire times", ", ".join(f"{number} {name}" for name, number in counts.items())),
    ]
    out.print_table(("", ""), rows, empty="")
    if schedule["recent_fires"]:
        _print_fires(schedule["recent_fires"])


def _print_fires(found: list[Fire]) -> None:
    rows = [
        (
            _time(fire["fire_at"]),
            fire["kind"],
            fire["outcome"],
            fire["run_id"],
            fire["run_status"],
            "" if fire["error"] is None else fire["error"]["message"],
        )
        for fire in found
    ]
    columns = ("fire time (UTC)", "kind", "outcome", "run", "status", "why")
    out.print_table(columns, rows, empty="Nothing has fired yet.")


def _timing(schedule: ScheduleSummary) -> str:
    if schedule["interval"] is not None:
        return f"every {schedule['interval']}"
    return out.brief(schedule["cron"] or schedule["rrule"])


def _next(schedule: ScheduleSummary) -> str:
    if schedule["paused"]:
        return "paused"
    return _time(schedule["next_fire_at"]) or "never"


def _time(at: str | None) -> str:
    return "" if at is None else at[:19].replace("T", " ")
