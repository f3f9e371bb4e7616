"""`orchestrator demo`: the main job once, for real, on a stack of its own."""

import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import click

import orchestrator
from orchestrator.cli import out
from orchestrator.client import Client
from orchestrator.client.answers import Run

EXAMPLES = Path(orchestrator.__file__).parent.parent / "examples"
_WORKFLOW = "lead-qualification.yaml"
_LEADS = "leads.json"


@click.command()
@click.pass_context
def demo(ctx: click.Context) -> None:
    """Start a stack of its own, qualify the sample leads, show the results, stop it again."""
    from orchestrator.cli import demo_stack
    from orchestrator.cli.tree import levels_of

    began = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    leads = _leads()
    click.echo("Starting API, workers, beat, gateway and stores…")
    with demo_stack.running() as client:
        click.echo(f"Ready after {out.span(time.monotonic() - began)} at {client.url}")
        ended = _qualify(client, leads, levels_of)
    _show(leads, ended)
    failed = [run for run in ended if run["status"] != "success"]
    took = out.span(time.monotonic() - began)
    click.echo(f"{len(ended) - len(failed)} of {len(ended)} runs succeeded; {took} in all")
    click.echo(_NEXT)
    ctx.exit(1 if failed else 0)


_NEXT = """
Next:
  make up                                                       keep the stack running
  .venv/bin/orchestrator run examples/lead-qualification.yaml -i @examples/lead.json
Then the API docs are at http://127.0.0.1:8080/api/docs"""


def _qualify(client: Client, leads: Sequence[dict[str, Any]], levels_of: Any) -> list[Run]:
    """Define the workflow, start a run for each lead at once, follow them; the runs as they ended."""
    from orchestrator.cli.demo_view import follow_all
    from orchestrator.cli.run import define

    workflow = define(client, EXAMPLES / _WORKFLOW)
    name = workflow["name"]
    steps = [node for level in levels_of(client.workflows.plan(name)) for node in level]
    click.echo(f"{name} ({workflow['classification']['class']}): {' → '.join(steps)}\n")
    with ThreadPoolExecutor(len(leads)) as pool:
        started = list(pool.map(lambda lead: client.runs.start(name, lead), leads))
    runs = {lead["company"]: run["id"] for lead, run in zip(leads, started, strict=True)}
    follow_all(client, runs, steps)
    return [client.runs.get(run_id) for run_id in runs.values()]


def _show(leads: Sequence[Mapping[str, Any]], ended: Sequence[Run]) -> None:
    columns = list(dict.fromkeys(name for run in ended for name in run.get("outputs") or {}))
    rows = []
    for lead, run in zip(leads, ended, strict=True):
        error, outputs = run.get("error"), run.get("outputs") or {}
        cells = [f"{error['code']}: {error['message']}"] if error else [outputs.get(name) for name in columns]
        cells += [""] * (len(columns) - len(cells))
        shown = ["" if cell is None else out.brief(cell) for cell in cells]
        rows.append((lead["company"], run["status"], *shown, out.dollars(run["cost_microcents"])))
    click.echo()
    out.print_table(("lead", "run", *columns, "cost"), rows, empty="")
    click.echo(f"\ncost of all runs: {out.dollars(sum(run['cost_microcents'] or 0 for run in ended))}")


def _leads() -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads((EXAMPLES / _LEADS).read_text())
    except FileNotFoundError as error:
        raise click.ClickException(f"{EXAMPLES} is missing: run `make demo` in the checkout") from error
    return found


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)  # through the contexts that are open: the stack is stopped
