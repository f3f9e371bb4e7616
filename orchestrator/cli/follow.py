"""Follow a run to its end: a live tree on a terminal, a plain line an event elsewhere."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from orchestrator.cli import out
from orchestrator.cli.progress import RUN_EVENTS, STEP_EVENTS, Progress, last_line, why
from orchestrator.client import Client, NotFound
from orchestrator.client.answers import Run

_WRITTEN = 60  # characters of what a step streams
_EVERY = 2.0  # seconds between two lines of it


def follow(client: Client, run_id: str, *, quiet: bool = False) -> Run:
    """Show the run until it ends; returns it with its steps. With `quiet` nothing is shown."""
    if quiet:
        client.runs.wait(run_id)
    elif sys.stdout.isatty():
        _live(client, client.runs.get(run_id))
    else:
        plain = Plain()
        for event in client.runs.stream(run_id):
            line = plain.line(event)
            if line:
                click.echo(line)
    return client.runs.get(run_id, steps=True)


def report(run: Run) -> None:
    """How a run ended, for people: outputs or error, cost, time."""
    mark, _ = out.MARKS[run["status"]]
    degraded = ", degraded" if run.get("degraded") else ""
    click.echo(f"{mark} {run['workflow']} {run['status']}{degraded}  (run {run['id']})")
    error = run["error"]
    if error:
        where = f" at step {error['step']}" if error["step"] else ""
        click.echo(f"  {error['code']}{where}: {error['message']}")
    if run.get("outputs") is not None:
        click.echo("outputs:")
        out.print_json(run["outputs"])
    seconds = out.took(run.get("started_at"), run.get("finished_at"))
    click.echo(f"cost {out.dollars(run.get('cost_microcents'))}" + (f", {seconds}" if seconds else ""))


def succeeded(run: Run) -> bool:
    return run["status"] == "success"


def _live(client: Client, run: Run) -> None:
    from rich.live import Live

    from orchestrator.cli import tree

    levels = _levels(client, run)
    progress = Progress(f"{run['workflow']} v{run['version']}", [node for level in levels for node in level])
    with Live(get_renderable=lambda: tree.draw(progress, levels), refresh_per_second=8) as live:
        for event in client.runs.stream(run["id"]):
            progress.apply(event)
        live.refresh()


def _levels(client: Client, run: Run) -> list[list[str]]:
    """The levels of the run's plan, none where the workflow is gone."""
    from orchestrator.cli import tree

    try:
        return tree.levels_of(client.workflows.plan(run["workflow"], run["version"]))
    except NotFound:
        return []


class Plain:
    """A run's events as lines; of what a step streams, one line every few seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._text: dict[str, str] = {}
        self._shown: dict[str, float] = {}

    def line(self, event: Mapping[str, Any]) -> str | None:
        """The line of an event, None where it has none."""
        if event["type"] == "stream.chunk":
            return self._writes(event)
        if event["type"] in STEP_EVENTS and event.get("step"):
            self._text.pop(event["step"], None)
            self._shown.pop(event["step"], None)
        return _plain(event)

    def _writes(self, event: Mapping[str, Any]) -> str | None:
        step, now = event["step"], self._clock()
        self._text[step] = (self._text.get(step, "") + event["data"]["text"])[-_WRITTEN * 4 :]
        line = last_line(self._text[step], _WRITTEN)
        if not line or now < self._shown.get(step, now):
            return None
        self._shown[step] = now + _EVERY
        return f"{event['at'][11:19]}  {step:<24} writes  {line}"


def _plain(event: Mapping[str, Any]) -> str | None:
    """One event as a line: time, step or run, what it became, why."""
    status = STEP_EVENTS.get(event["type"]) or RUN_EVENTS.get(event["type"])
    if status is None:
        return None
    data = event.get("data") or {}
    reason = why(data)
    if status == "waiting" and data.get("reason"):
        reason = f"for {data['reason']}"
    tail = f"  {reason}" if reason else ""
    return f"{event['at'][11:19]}  {event.get('step') or 'run':<24} {status}{tail}"
