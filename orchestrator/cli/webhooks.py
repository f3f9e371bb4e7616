"""`orchestrator webhooks`: where events are sent, what became of each, and what is to be sent again."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import get_args

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect
from orchestrator.client.webhook_answers import Delivery, DeliveryStatus, Webhook, WebhookWithSecret
from orchestrator.core import durations

_NONE = "No webhooks. Make one with: orchestrator webhooks create URL --events run.*"
_limit = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)


@click.group(invoke_without_command=True)
@click.pass_context
def webhooks(ctx: click.Context) -> None:
    """List, make and watch webhooks; send again what was not delivered."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@webhooks.command("list")
@_limit
@out.json_option
def list_(limit: int = 50, as_json: bool = False) -> None:
    """List webhooks with how their receivers do, the newest first."""
    found = list(connect().webhooks.list(limit))
    if as_json:
        out.print_json(found)
        return
    rows = [(each["id"], each["url"], ", ".join(each["events"]), _state(each), each["error"]) for each in found]
    out.print_table(("webhook", "url", "events", "state", "error"), rows, empty=_NONE)


@webhooks.command()
@click.argument("url")
@click.option("--events", required=True, help="Comma list of types: step.failed, run.*, *.")
@click.option("--description", default="")
@out.json_option
def create(url: str, events: str, description: str, as_json: bool) -> None:
    """Make a webhook and show its secret, this once."""
    wanted = [event.strip() for event in events.split(",") if event.strip()]
    _tell(connect().webhooks.create(url, wanted, description=description), as_json)


@webhooks.command()
@click.argument("webhook", metavar="ID")
@out.json_option
def show(webhook: str, as_json: bool) -> None:
    """Show one webhook."""
    found = connect().webhooks.get(webhook)
    if as_json:
        out.print_json(found)
        return
    rows = [(name, out.brief(value, 200)) for name, value in found.items() if value not in (None, "")]
    out.print_table(("", ""), rows, empty="")


@webhooks.command()
@click.argument("webhook", metavar="ID")
@click.option("--status", type=click.Choice(get_args(DeliveryStatus)))
@_limit
@out.json_option
def deliveries(webhook: str, status: DeliveryStatus | None, limit: int, as_json: bool) -> None:
    """List what was sent to a webhook, or is to be, the newest first."""
    _list(connect().webhooks.deliveries(webhook, limit, status=status), as_json, "No deliveries.")


@webhooks.command("dead-letters")
@_limit
@out.json_option
def dead_letters(limit: int, as_json: bool) -> None:
    """List what was given up, of all webhooks, the newest first."""
    _list(connect().webhooks.dead_letters(limit), as_json, "No dead letters.")


@webhooks.command()
@click.argument("webhook", metavar="ID")
@click.argument("delivery")
@out.json_option
def replay(webhook: str, delivery: str, as_json: bool) -> None:
    """Send a delivery that ended again."""
    found = connect().webhooks.replay(webhook, delivery)
    out.print_json(found) if as_json else click.echo(f"{found['id']} is {found['status']}")


@webhooks.command("replay-missing")
@click.argument("webhook", metavar="ID")
@click.option("--since", default="24h", show_default=True, help="A duration ago, or an RFC 3339 time.")
@out.json_option
def replay_missing(webhook: str, since: str, as_json: bool) -> None:
    """Send all that was given up, stopped or never noted, of events since then."""
    found = connect().webhooks.replay_missing(webhook, _moment(since))
    if as_json:
        out.print_json(found)
        return
    more = "" if found["complete"] else "; there is more: ask again for a shorter time"
    click.echo(f"{found['replayed']} are sent again, {found['noted']} for the first time{more}")


@webhooks.command()
@click.argument("webhook", metavar="ID")
@click.option("--grace", default="24h", show_default=True, help="How long the secret before signs too.")
@out.json_option
def rotate(webhook: str, grace: str, as_json: bool) -> None:
    """Give a webhook another secret and show it, this once."""
    seconds = durations.seconds(grace)
    if seconds is None:
        raise click.BadParameter("write a duration such as 30m, 24h, 7d", param_hint="--grace")
    _tell(connect().webhooks.rotate_secret(webhook, grace_seconds=int(seconds)), as_json)


@webhooks.command()
@click.argument("webhook", metavar="ID")
@out.json_option
def test(webhook: str, as_json: bool) -> None:
    """Send an event webhook.test there."""
    found = connect().webhooks.test(webhook)
    out.print_json(found) if as_json else click.echo(f"{found['id']} is {found['status']}")


@webhooks.command()
@click.argument("webhook", metavar="ID")
@out.json_option
def enable(webhook: str, as_json: bool) -> None:
    """Let a webhook get events again, from now on."""
    _changed(connect().webhooks.update(webhook, {"enabled": True}), as_json)


@webhooks.command()
@click.argument("webhook", metavar="ID")
@out.json_option
def disable(webhook: str, as_json: bool) -> None:
    """Send a webhook no more events; what waits for it is stopped."""
    _changed(connect().webhooks.update(webhook, {"enabled": False}), as_json)


@webhooks.command()
@click.argument("webhook", metavar="ID")
@out.json_option
def delete(webhook: str, as_json: bool) -> None:
    """Remove a webhook; what waits for it is stopped."""
    found = connect().webhooks.delete(webhook)
    out.print_json(found) if as_json else click.echo(f"{found['id']} is removed")


def _tell(made: WebhookWithSecret, as_json: bool) -> None:
    if as_json:
        out.print_json(made)
        return
    click.echo(f"webhook {made['id']}; its secret is shown this once:", err=True)
    click.echo(made["secret"])


def _changed(found: Webhook, as_json: bool) -> None:
    out.print_json(found) if as_json else click.echo(f"{found['id']} is {_state(found)}")


def _state(found: Webhook) -> str:
    if not found["enabled"]:
        return f"disabled: {found['disabled_reason']}" if found["disabled_reason"] else "disabled"
    return f"failing since {found['failing_since'][:19]}" if found["failing_since"] else "enabled"


def _list(found: Iterable[Delivery], as_json: bool, empty: str) -> None:
    rows = list(found)
    if as_json:
        out.print_json(rows)
        return
    shown = [
        (each["id"], each["type"], each["run_id"], each["status"], each["tries"], _last_error(each)) for each in rows
    ]
    out.print_table(("delivery", "event", "run", "status", "tries", "error"), shown, empty=empty)


def _last_error(found: Delivery) -> str:
    error = found["attempts"][-1]["error"] if found["attempts"] else None
    return "" if error is None else error["message"]


def _moment(since: str) -> str:
    """A duration ago as a time; a time as it is."""
    seconds = durations.seconds(since)
    return since if seconds is None else (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
