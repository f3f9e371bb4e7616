"""`orchestrator workflows`: what is defined, its versions and what changed between them."""

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect

_EMPTY = "No workflows. Create one with: orchestrator run FILE"


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@out.json_option
@click.pass_context
def workflows(ctx: click.Context, limit: int, as_json: bool) -> None:
    """List workflows; or see versions, compare, roll back, archive."""
    if ctx.invoked_subcommand is not None:
        return
    found = list(connect().workflows.list(limit))
    if as_json:
        out.print_json(found)
        return
    rows = [(w["name"], w["version"], w["classification"]["class"], w.get("description")) for w in found]
    out.print_table(("workflow", "version", "class", "description"), rows, empty=_EMPTY)


@workflows.command()
@click.argument("name")
@out.json_option
def versions(name: str, as_json: bool) -> None:
    """List the versions of a workflow."""
    found = list(connect().workflows.versions(name, 1000))
    if as_json:
        out.print_json(found)
        return
    rows = [(v["version"], v["created_at"][:19].replace("T", " "), v.get("digest", "")[:12]) for v in found]
    out.print_table(("version", "created (UTC)", "digest"), rows, empty="No versions.")


@workflows.command()
@click.argument("name")
@click.argument("old", type=int)
@click.argument("new", type=int)
@out.json_option
def diff(name: str, old: int, new: int, as_json: bool) -> None:
    """Compare two versions of a workflow."""
    found = connect().workflows.diff(name, old, new)
    if as_json:
        out.print_json(found)
        return
    rows = [("+", pointer, "") for pointer in map(_pointer, found["added"])]
    rows += [("-", pointer, "") for pointer in map(_pointer, found["removed"])]
    rows += [("~", c["pointer"], f"{out.brief(c['from'])} → {out.brief(c['to'])}") for c in found["changed"]]
    out.print_table(("", "where", "change"), rows, empty="The versions are the same.")


@workflows.command()
@click.argument("name")
@click.argument("version", type=int)
def rollback(name: str, version: int) -> None:
    """Make the content of an old version the next one."""
    now = connect().workflows.rollback(name, version)
    click.echo(f"{name} is at version {now['version']}, with the content of version {version}")


@workflows.command()
@click.argument("name")
def archive(name: str) -> None:
    """Take a workflow out of use; its runs stay."""
    connect().workflows.archive(name)
    click.echo(f"{name} is archived")


def _pointer(entry: object) -> str:
    return entry["pointer"] if isinstance(entry, dict) else str(entry)
