"""`orchestrator db`: the schema of the database that the settings name."""

import click

from orchestrator.cli import out
from orchestrator.settings import load


@click.group()
def db() -> None:
    """Upgrade the database, or see where it stands."""


@db.command()
def upgrade() -> None:
    """Apply the migrations that are missing. Safe to repeat, and while older parts run."""
    from models import schema

    settings = load()
    if settings.database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    schema.upgrade(settings.database)
    click.echo(f"the database is at {schema.current(settings.database)}")


@db.command()
@out.json_option
@click.pass_context
def current(ctx: click.Context, as_json: bool) -> None:
    """Show the database's revision and the newest one; ends with 1 while they differ."""
    from models import schema

    at, newest = schema.current(load().database), schema.head()
    if as_json:
        out.print_json({"revision": at, "newest": newest})
    else:
        remedy = "" if at == newest else " (run: orchestrator db upgrade)"
        click.echo(f"the database is at {at or 'no revision'}, the newest is {newest}{remedy}")
    ctx.exit(0 if at == newest else 1)
