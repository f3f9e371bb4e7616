"""`orchestrator bus`: follow the event bus from a shell, and see to the dead letters of its subscribers."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from signal import SIGINT, SIGTERM, signal
from typing import TYPE_CHECKING

import click

from orchestrator.cli import out
from orchestrator.settings import load

if TYPE_CHECKING:
    from orchestrator.bus import EventBus, Message
    from orchestrator.services.journal_replay import Replay


@click.group()
def bus() -> None:
    """Follow events on the bus that ORCHESTRATOR_EVENT_BUS names; it needs no API."""


@bus.command()
@click.option("--name", required=True, help="The subscriber's; one process of a name is at work at a time.")
@click.option("--types", default="*", show_default=True, help="Comma list, run.*,step.failed say.")
@click.option("--exec", "command", help="A shell command for each event, which gets it as JSON on its input.")
@click.option("--replay", "place", help="First all events after this id of the workspace's stream, or 'start'.")
@click.option("--replay-run", "run", metavar="RUN[:SEQ]", help="First this run's events, from number SEQ on.")
def tail(name: str, types: str, command: str | None, place: str | None, run: str | None) -> None:
    """Print each event as a line of JSON, from now on, until it is stopped; the next time it goes on from there.

    With --exec an event is done with when the command ends with 0; after five tries it is a dead letter.
    """
    from orchestrator import logs
    from orchestrator.services.subscribing import subscribe

    def show(text: str) -> None:
        try:
            click.echo(text)
        except BrokenPipeError:
            stop.set()  # who reads has gone, `| head` say: no refusal, the event comes again the next time
            raise

    def handle(message: "Message") -> None:
        if command is None:
            show(message.body)
            return
        subprocess.run(command, shell=True, input=message.body, text=True, check=True)  # noqa: S602 - is asked for

    stop = threading.Event()
    for number in (SIGINT, SIGTERM):
        signal(number, lambda *_: stop.set())
    wanted = [each.strip() for each in types.split(",") if each.strip()]
    settings = load()
    logs.set_up(settings)  # to stderr: what is printed is events alone
    subscribe(settings, name, wanted, handle, replay=_replay(place, run), stop=stop)


@bus.command("dead-letters")
@click.argument("name")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
@out.json_option
def dead_letters(name: str, limit: int, as_json: bool) -> None:
    """List what the subscriber NAME refused, the oldest first."""
    with _opened() as found:
        letters = found.dead_letters(name, limit)
    if as_json:
        shown = [
            {"id": each.message.id, "reason": each.reason, "tries": each.tries, "at": _moment(each.at)}
            | {"event": each.message.event}
            for each in letters
        ]
        out.print_json(shown)
        return
    rows = [(each.message.id, each.message.type, _moment(each.at), each.tries, each.reason) for each in letters]
    out.print_table(("message", "type", "at", "tries", "reason"), rows, empty="No dead letters.")


@bus.command()
@click.argument("name")
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of them.")
def requeue(name: str, ids: tuple[str, ...], every: bool) -> None:
    """Send dead letters to the subscriber NAME again: those with these IDS, or --all."""
    if bool(ids) == every:
        raise click.UsageError("name the messages, or write --all")
    with _opened() as found:
        count = found.requeue(name, None if every else ids)
    click.echo(f"{count} sent to {name} again")


@bus.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget the subscriber NAME, what waits for it and its dead letters."""
    with _opened() as found:
        found.remove(name)
    click.echo(f"{name} is removed")


@contextmanager
def _opened() -> "Iterator[EventBus]":
    from orchestrator.services.subscribing import opened

    with opened(load()) as found:
        yield found


def _replay(place: str | None, run: str | None) -> "Replay | None":
    from orchestrator.services.journal_replay import Replay

    if place is not None and run is not None:
        raise click.UsageError("--replay and --replay-run exclude each other")
    if run is not None:
        run_id, _, seq = run.partition(":")
        if seq and not (seq.isascii() and seq.isdigit()):
            raise click.BadParameter(f"{seq!r} is no number of an event", param_hint="--replay-run")
        return Replay(run_id=run_id, seq=int(seq or 1))
    return None if place is None else Replay(cursor=place)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
