"""`orchestrator keys`: API keys, shown once when they are made."""

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect
from orchestrator.settings import load


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.option("--name", required=True, help="Who or what will use it.")
@click.option("--scopes", default="read", show_default=True, help="Comma list.")
@click.option("--workspace", help="Name or id; default: the workspace of your own key.")
@out.json_option
def create(name: str, scopes: str, workspace: str | None, as_json: bool) -> None:
    """Make a key and show it, this once. Scopes: read, operate, define, admin, agent."""
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    made = connect().keys.create(name, wanted, workspace=workspace)
    if as_json:
        out.print_json(made)
        return
    click.echo(f"key {made['id']}; it is shown this once:", err=True)
    click.echo(made["key"])


@keys.command("list")
@out.json_option
def list_(as_json: bool) -> None:
    """List the keys, newest first."""
    found = list(connect().keys.list(1000))
    if as_json:
        out.print_json(found)
        return
    rows = [
        (key["id"], key["name"], ", ".join(key["scopes"]), key["workspace"], key["revoked_at"])
        for key in found
    ]
    out.print_table(("key", "name", "scopes", "workspace", "revoked"), rows, empty="No keys.")


@keys.command()
@click.argument("key")
def revoke(key: str) -> None:
    """End the key of this id."""
    connect().keys.revoke(key)
    click.echo(f"{key} is revoked")


@keys.command()
def bootstrap() -> None:
    """Show a new admin key, made in the database itself: the first one, when there is none to ask with."""
    from orchestrator.services import deps, keys

    built = deps.build(load(), pool_size=1)
    try:
        click.echo(keys.bootstrap(built))
    finally:
        built.close()
