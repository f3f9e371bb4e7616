"""`orchestrator fsck`: proves the invariants on the database that the settings name, while it works."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from orchestrator.cli import out
from orchestrator.settings import load

if TYPE_CHECKING:
    from orchestrator.services.fsck_record import Violation


@click.command()
@click.argument("run", required=False)
@click.option("--since", type=click.DateTime(), help="Only runs created then (UTC) or later.")
@out.json_option
@click.pass_context
def fsck(ctx: click.Context, run: str | None, since: datetime | None, as_json: bool) -> None:
    """Check the invariants of one RUN, or of all; ends with 1 when one is broken."""
    found = _violations(run, since and since.replace(tzinfo=UTC))
    if as_json:
        shown = [
            {"invariant": each.invariant, "run_id": each.run_id, "step": each.step, "message": each.message}
            for each in found
        ]
        out.print_json({"ok": not found, "violations": shown})
    else:
        _print(found)
    ctx.exit(1 if found else 0)


def _violations(run: str | None, since: datetime | None) -> "list[Violation]":
    from orchestrator.services import deps, fsck

    built = deps.build(load(), pool_size=1)
    try:
        return list(fsck.check_all(built, since)) if run is None else fsck.check(built, run)
    finally:
        built.close()


def _print(found: "list[Violation]") -> None:
    from orchestrator.services.fsck_record import INVARIANTS

    rows = [
        (each.invariant, INVARIANTS[each.invariant], each.run_id, each.step, each.message) for each in found
    ]
    columns = ("no", "invariant", "run", "step", "found")
    out.print_table(columns, rows, empty="Every invariant holds.")
