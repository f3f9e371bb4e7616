"""`orchestrator rebuild`: writes a run's rows again as its events tell them, on the database that the settings name."""

import json
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import out
from orchestrator.settings import load

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command()
@click.argument("run")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@out.json_option
def rebuild(run: str, dry_run: bool, as_json: bool) -> None:
    """Restore the steps, variables, loops and parallels of a RUN from its events, where its rows differ."""
    from orchestrator.services import deps, rebuilding

    built = deps.build(load(), pool_size=1)
    try:
        found = list(rebuilding.shown(rebuilding.carry_out(built, run, dry_run=dry_run)))
    finally:
        built.close()
    if as_json:
        out.print_json({"dry_run": dry_run, "changes": found})
        return
    rows = [(each["what"], each["path"], _text(each["was"]), _text(each["now"])) for each in found]
    becomes = "would become" if dry_run else "is now"
    out.print_table(("what", "path", "was", becomes), rows, empty="Every row is as the events tell.")


def _text(found: "Mapping[str, Any] | None") -> str:
    if found is None:
        return "not there"
    return ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in found.items())
