"""What people see: tables, amounts, times, marks. JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

MARKS = {
    "pending": ("·", "dim"),
    "queued": ("○", "cyan"),
    "running": ("●", "yellow"),
    "waiting": ("◐", "magenta"),
    "paused": ("◐", "magenta"),
    "retrying": ("↻", "yellow"),
    "success": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("⊘", "dim"),
    "aborted": ("■", "red"),
    "compensating": ("↶", "yellow"),
    "compensated": ("↶", "green"),
}
_STYLES = {name: style for name, (_, style) in MARKS.items()} | {
    "online": "green",
    "idle": "green",
    "busy": "yellow",
    "stopped": "dim",
    "offline": "red",
    "healthy": "green",
    "unhealthy": "red",
}

_PIPE_WIDTH = 1000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table on standard output, or the sentence `empty` where there are no rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell), style=_style(cell)) for cell in row))
    if table.row_count == 0:
        click.echo(empty)
        return
    console = Console()
    if console.is_terminal:
        console.print(table)
        return
    # Into a pipe: no fold at 80 columns and no padding, either would be in the way of grep and cut.
    console.width = _PIPE_WIDTH
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def dollars(microcents: int | None) -> str:
    """Micro-cents as dollars: four places, more only where it is less than that."""
    amount = (microcents or 0) / 100_000_000
    return f"${amount:.4f}" if amount >= 0.0001 or amount == 0 else f"${amount:.8f}".rstrip("0")


def took(started_at: str | None, finished_at: str | None) -> str:
    """The span between two of the API's times, empty while one is missing."""
    if started_at is None or finished_at is None:
        return ""
    return span((datetime.fromisoformat(finished_at) - datetime.fromisoformat(started_at)).total_seconds())


def span(seconds: float) -> str:
    """A span in the unit that people would say."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def brief(value: Any, width: int = 60) -> str:
    """A value on one line, cut at `width`."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= width else text[: width - 1] + "…"


def _style(cell: Any) -> str:
    return _STYLES.get(cell, "") if isinstance(cell, str) else ""
