"""`orchestrator doctor`: what is configured, what answers, what to do about the rest."""

import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import out
from orchestrator.cli.connection import connect
from orchestrator.client.errors import ClientError
from orchestrator.settings import Settings, load

if TYPE_CHECKING:
    from orchestrator.services.doctor import Check

# In a program of its own: the command line imports no Celery.
_GUARD = (
    "import kombu, tasks.app; from kombu.transport.redis import Channel, QoS;"
    "print(kombu.__version__, *{Channel._connparams.__module__, QoS.ack.__module__})"
)


@click.command()
@out.json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Show what is configured and reachable; ends with 1 when a part is not well. Passwords are hidden."""
    from orchestrator.services import doctor as service

    settings = load()
    checks = [*service.examine(settings), *_more(settings)]
    found = {
        "database_url": service.hidden(settings.database),
        "broker_url": service.hidden(settings.broker),
        "result_backend": service.hidden(settings.results),
        "event_bus": service.hidden(settings.bus) or "off",
        "data_dir": str(settings.data_dir.absolute()),
        "url": settings.url,
        "embedded": settings.embedded,
        "fan_in": service.fan_in(settings),
    }
    healthy = all(check.ok for check in checks)
    if as_json:
        shown = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
        out.print_json({**found, "checks": shown, "ok": healthy})
    else:
        _print(found, checks)
    ctx.exit(0 if healthy else 1)


def _more(settings: Settings) -> "Iterator[Check]":
    """What only the command line may ask: the API over HTTP, Celery in a program of its own."""
    from orchestrator.services.doctor import Check

    try:
        ready = connect(settings).ready()
        well = ready["status"] == "ready"
        detail = "ready" if well else f"{ready['status']}, missing: {', '.join(ready['missing'])}"
        yield Check(name="api", ok=well, detail=detail)
    except ClientError as error:
        yield Check(name="api", ok=False, detail=str(error))
    done = subprocess.run([sys.executable, "-c", _GUARD], capture_output=True, text=True, check=False)  # noqa: S603
    said = (done.stdout or done.stderr).split("\n")[-2] if done.stdout or done.stderr else "no answer"
    guarded = done.returncode == 0 and said.split()[1:] == ["tasks.kombu_guards"]
    detail = f"kombu {said.split()[0]} with the guards against lost connections" if guarded else said
    yield Check(name="kombu_guard", ok=guarded, detail=detail)


def _print(found: dict[str, Any], checks: "list[Check]") -> None:
    out.print_table(("setting", "value"), found.items(), empty="")
    click.echo()
    rows = [("✓" if check.ok else "✗", check.name, check.detail) for check in checks]
    out.print_table(("", "part", "found"), rows, empty="")
