"""`orchestrator approvals`, `approve`, `reject`, `signal`: what runs wait for people and others to say."""

from typing import Any, Literal, get_args

import click

from orchestrator.cli import given, out
from orchestrator.cli.connection import connect
from orchestrator.client.answers import Approval, ApprovalStatus

_STATUSES = (*get_args(ApprovalStatus), "all")
_data = click.option("-d", "--data", "pairs", multiple=True, metavar="KEY=VALUE", help="Or @file.json.")
_comment = click.option("--comment", help="Why; it is kept with the vote.")


@click.command()
@click.option("--status", type=click.Choice(_STATUSES), default="pending", show_default=True)
@click.option("--run", help="That this run waits for.")
@click.option("--assignee", help="That this name is asked for.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@out.json_option
def approvals(
    status: ApprovalStatus | Literal["all"], run: str | None, assignee: str | None, limit: int, as_json: bool
) -> None:
    """List what people are asked, newest first."""
    found = list(connect().approvals.list(limit, status=status, run=run, assignee=assignee))
    if as_json:
        out.print_json(found)
        return
    rows = [
        (each["id"], each["workflow"], each["title"], each["status"], ", ".join(each["assignees"]), _until(each))
        for each in found
    ]
    out.print_table(("approval", "workflow", "title", "status", "asked", "expires (UTC)"), rows, empty="None.")


@click.command()
@click.argument("approval", metavar="ID")
@_data
@_comment
@out.json_option
def approve(approval: str, pairs: tuple[str, ...], comment: str | None, as_json: bool) -> None:
    """Approve what a run asks, with the data that it wants."""
    _show(connect().approvals.approve(approval, _given(pairs), comment=comment), as_json)


@click.command()
@click.argument("approval", metavar="ID")
@_data
@_comment
@out.json_option
def reject(approval: str, pairs: tuple[str, ...], comment: str | None, as_json: bool) -> None:
    """Reject what a run asks."""
    _show(connect().approvals.reject(approval, _given(pairs), comment=comment), as_json)


@click.command()
@click.argument("run")
@click.argument("name")
@_data
@click.option("--id", "number", help="Your number of it; the first of a number counts.")
@out.json_option
def signal(run: str, name: str, pairs: tuple[str, ...], number: str | None, as_json: bool) -> None:
    """Send RUN the signal NAME; it is kept until a step waits for it."""
    after = connect().runs.signal(run, name, _given(pairs), id=number)
    out.print_json(after) if as_json else click.echo(f"{after['id']} is {after['status']}")


def _given(pairs: tuple[str, ...]) -> dict[str, Any] | None:
    return given.pairs(pairs, "--data") if pairs else None


def _until(found: Approval) -> str:
    return (found["expires_at"] or "")[:19].replace("T", " ")


def _show(found: Approval, as_json: bool) -> None:
    if as_json:
        out.print_json(found)
        return
    left = found["required"] - len(found["votes"])
    more = f", {left} more to approve" if found["status"] == "pending" else ""
    click.echo(f"{found['title']}: {found['status']}{more}")
