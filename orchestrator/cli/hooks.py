"""`orchestrator hooks`: addresses at which others start workflows and signal runs."""

import json
from typing import Any

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect
from orchestrator.client.hook_answers import HookScheme, HookSignal

_EMPTY = "No hooks. Make one with: orchestrator hooks create NAME --workflow WORKFLOW"


@click.group(invoke_without_command=True)
@out.json_option
@click.pass_context
def hooks(ctx: click.Context, as_json: bool) -> None:
    """List hooks; or make and delete them."""
    if ctx.invoked_subcommand is not None:
        return
    found = list(connect().hooks.list(1000))
    if as_json:
        out.print_json(found)
        return
    rows = [(each["name"], each["scheme"], _target(each), each["url"]) for each in found]
    out.print_table(("hook", "scheme", "does", "url"), rows, empty=_EMPTY)


@hooks.command()
@click.argument("name")
@click.option("--workflow", help="What it starts, by name or id.")
@click.option("--signal", help="Or the signal that it sends,")
@click.option("--key", help="to whoever waits for this key: {{body.envelope_id}}")
@click.option("--run", help="or to this run: {{query.run}}")
@click.option("--scheme", type=click.Choice(["none", "standard-webhooks", "github"]), default="none", show_default=True)
@click.option("--secret", help="Left out, one is made and shown.")
@click.option("--map", "mapping", metavar="KEY=VALUE", multiple=True, help="An input: amount={{body.amount}}")
@click.option("--dedup", help="The sender's own number: {{body.id}}")
@out.json_option
def create(
    name: str,
    workflow: str | None,
    signal: str | None,
    key: str | None,
    run: str | None,
    scheme: HookScheme,
    secret: str | None,
    mapping: tuple[str, ...],
    dedup: str | None,
    as_json: bool,
) -> None:
    """Make a hook and show its address, and the secret that was made for it, this once."""
    made = connect().hooks.create(
        name,
        workflow=workflow,
        signal=_signal(signal, key, run),
        scheme=scheme,
        secret=secret,
        mapping=dict(map(_pair, mapping)) or None,
        dedup=dedup,
    )
    if as_json:
        out.print_json(made)
        return
    click.echo(made["url"])
    if made["secret"] is not None:
        click.echo("its secret is shown this once:", err=True)
        click.echo(made["secret"])


@hooks.command()
@click.argument("name")
def delete(name: str) -> None:
    """Remove a hook: its address is none any more."""
    connect().hooks.delete(name)
    click.echo(f"{name} is deleted")


def _signal(name: str | None, key: str | None, run: str | None) -> HookSignal | None:
    if name is None:
        if key is not None or run is not None:
            raise click.UsageError("--key and --run say where a signal goes; give --signal too")
        return None
    found: HookSignal = {"name": name}
    if key is not None:
        found["key"] = key
    if run is not None:
        found["run"] = run
    return found


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is no KEY=VALUE", param_hint="--map")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _target(hook: Any) -> str:
    if hook["signal"] is None:
        return f"starts {hook['workflow']}"
    signal = hook["signal"]
    return f"signals {signal['name']} to {signal.get('key') or signal.get('run')}"
