"""`orchestrator audit`: who did what; and the proof that nobody changed what it says."""

import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect
from orchestrator.settings import load

if TYPE_CHECKING:
    from orchestrator.services.audit_chain import Anchor, Verified

_ANCHOR = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", re.ASCII)


@click.group(invoke_without_command=True)
@click.option("--actor", help="Name or id of a key.")
@click.option("--action", help="Such as run.abort, or run.*")
@click.option("--target", help="Such as run:<id>, or step:<run>*")
@click.option("--after", help="At that time (RFC 3339) or later.")
@click.option("--before", help="Earlier than that.")
@click.option("--export", type=click.Choice(["jsonl", "csv"]), help="All that fits, one act a line.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@out.json_option
@click.pass_context
def audit(ctx: click.Context, /, export: Any, limit: int, as_json: bool, **wanted: str | None) -> None:
    """List what people and keys did, newest first; or verify the log."""
    if ctx.invoked_subcommand is not None:
        return
    client = connect().audit
    if export is not None:
        sys.stdout.write(client.export(export, **wanted))
        return
    found = list(client.list(limit, **wanted))
    if as_json:
        out.print_json(found)
        return
    rows = [
        (act["at"][:19].replace("T", " "), act["actor"], act["source"], act["action"], act["target"], act["reason"])
        for act in found
    ]
    out.print_table(("at (UTC)", "who", "from", "did", "to", "why"), rows, empty="Nobody did anything that fits.")


@audit.command()
@click.option("--anchor", metavar="POSITION:DIGEST", help="An earlier head, which must be there still.")
@out.json_option
@click.pass_context
def verify(ctx: click.Context, anchor: str | None, as_json: bool) -> None:
    """Check the chain over the log, in the database itself; ends with 1 where it is broken."""
    found = _verified(_anchor(anchor))
    if as_json:
        out.print_json({"ok": not found.breaks, **asdict(found)})
    else:
        _print(found)
    ctx.exit(1 if found.breaks else 0)


def _anchor(text: str | None) -> "Anchor | None":
    from orchestrator.services.audit_chain import Anchor

    if text is None:
        return None
    match = _ANCHOR.fullmatch(text)
    if match is None:
        raise click.BadParameter("write it as verify printed it: POSITION:DIGEST", param_hint="--anchor")
    return Anchor(position=int(match[1]), digest=match[2])


def _verified(anchor: "Anchor | None") -> "Verified":
    from orchestrator.services import audit_chain, deps

    built = deps.build(load(), pool_size=1)
    try:
        return audit_chain.verify(built, anchor)
    finally:
        built.close()


def _print(found: "Verified") -> None:
    rows = [(each.position, each.message) for each in found.breaks]
    out.print_table(("position", "found"), rows, empty="The chain holds.")
    if found.waiting:
        click.echo(f"waiting for their link: {found.waiting}")
    if found.head is not None:
        click.echo(f"head {found.head.position}:{found.head.digest}")
