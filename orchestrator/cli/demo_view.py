"""Several runs of one workflow side by side: a live grid on a terminal, plain lines elsewhere."""

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Queue
from typing import TYPE_CHECKING

import click

from orchestrator.cli.out import MARKS, span
from orchestrator.cli.progress import RUN_EVENTS, STEP_EVENTS, Progress, now
from orchestrator.client import Client

if TYPE_CHECKING:
    from rich.table import Table


def follow_all(client: Client, runs: Mapping[str, str], steps: Sequence[str]) -> None:
    """Show runs (name → run id) until all have ended. `steps`: the columns, in plan order.

    Raises what the reading of a run raised.
    """
    rows = {name: Progress(name, steps) for name in runs}
    live = sys.stdout.isatty()
    ended: Queue[Exception | None] = Queue()
    with _shown(rows, steps, live=live):
        for name, run_id in runs.items():
            # Daemons: whoever is interrupted here stops the stack, and does not wait for its streams.
            args = (client, run_id, rows[name], not live, ended)
            threading.Thread(target=_follow, args=args, daemon=True).start()
        for _ in runs:
            error = ended.get()
            if error is not None:
                raise error


def _follow(
    client: Client, run_id: str, progress: Progress, plain: bool, ended: "Queue[Exception | None]"
) -> None:
    try:
        _read(client, run_id, progress, plain)
    except Exception as error:  # raised where it is waited for
        ended.put(error)
    else:
        ended.put(None)


def _read(client: Client, run_id: str, progress: Progress, plain: bool) -> None:
    for event in client.runs.events(run_id):
        progress.apply(event)
        status = STEP_EVENTS.get(event["type"]) or RUN_EVENTS.get(event["type"])
        if plain and status is not None:
            step = event.get("step") or "run"
            click.echo(f"{event['at'][11:23]}  {progress.title:<22} {step:<10} {status}")


@contextmanager
def _shown(rows: Mapping[str, Progress], steps: Sequence[str], *, live: bool) -> Iterator[None]:
    if not live:
        yield
        return
    from rich.live import Live

    with Live(get_renderable=lambda: _grid(rows, steps), refresh_per_second=10):
        yield


def _grid(rows: Mapping[str, Progress], steps: Sequence[str]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("lead", *steps, "run"):
        grid.add_column(column)
    for name, progress in rows.items():
        lines = {step.path: step for step in progress.steps}
        cells = []
        for path in steps:
            mark, style = MARKS[lines[path].status]
            seconds = None if lines[path].status == "skipped" else lines[path].seconds(now())
            cells.append(Text(mark if seconds is None else f"{mark} {span(seconds)}", style=style))
        mark, style = MARKS[progress.status]
        grid.add_row(name, *cells, Text(f"{mark} {progress.status}", style=style))
    return grid
