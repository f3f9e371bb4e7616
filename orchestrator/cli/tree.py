"""A run as a live tree: one line a step, steps that can run at once under one branch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from orchestrator.cli.out import MARKS, span
from orchestrator.cli.progress import OVER, Progress, StepLine, last_line, now

MOST_LINES = 40
WRITTEN = 60  # characters of what a step streams


def draw(progress: Progress, levels: Sequence[Sequence[str]]) -> RenderableType:
    """The tree as it stands. `levels`: node ids by level of the plan; steps that no level names follow.

    Of a large run only what is in work or failed is drawn, and the rest counted.
    """
    steps = progress.steps
    shown = {step.path: step for step in (steps if len(steps) <= MOST_LINES else _most_telling(steps))}
    tree = Tree(_title(progress), guide_style="dim")
    left = dict(shown)
    for level in levels:
        together = [left.pop(node) for node in level if node in left]
        branch = tree.add(Text("in parallel", style="dim")) if len(together) > 1 else tree
        for step in together:
            branch.add(_line(step))
    for step in left.values():
        tree.add(_line(step))
    if len(shown) < len(steps):
        tree.add(Text(f"… and {len(steps) - len(shown)} more", style="dim"))
    return Group(tree, _bar(progress))


def _title(progress: Progress) -> Text:
    mark, style = MARKS[progress.status]
    return Text.assemble((f"{mark} ", style), (progress.title, "bold"), (f"  {progress.status}", style))


def _line(step: StepLine) -> Text:
    mark, style = MARKS[step.status]
    text = Text.assemble((f"{mark} ", style), step.path)
    seconds = step.seconds(now())
    if step.status not in ("pending", "skipped"):
        text.append(f"  {step.status}", style=style)
    if seconds is not None and step.status != "skipped":
        text.append(f"  {span(seconds)}", style="dim")
    if step.attempt > 1:
        text.append(f"  attempt {step.attempt}", style="yellow")
    if step.waits_for:
        text.append(f"  for {step.waits_for}", style="dim")
    if step.writes and (line := last_line(step.writes, WRITTEN)):
        text.append(f"  {line}", style="italic dim")
    if step.error:
        text.append(f"  {step.error}", style="red")
    return text


def _bar(progress: Progress) -> RenderableType:
    counts = progress.counts()
    total, over = sum(counts.values()), sum(counts[status] for status in OVER)
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(total, 1), completed=over, width=30)
    row.add_row(bar, Text(f"{over}/{total} steps"), _tally(counts))
    return row


def _tally(counts: Mapping[str, int]) -> Text:
    parts = (f"{MARKS[status][0]} {number} {status}" for status, number in counts.items())
    return Text("  ".join(parts), style="dim")


def _most_telling(steps: Iterable[StepLine]) -> list[StepLine]:
    order = {"failed": 0, "running": 1, "retrying": 2, "waiting": 3, "queued": 4}
    return sorted(steps, key=lambda step: order.get(step.status, 5))[:MOST_LINES]


def levels_of(plan: Mapping[str, Any]) -> list[list[str]]:
    """The levels of the API's plan document."""
    return [list(level) for level in plan.get("levels") or ()]
