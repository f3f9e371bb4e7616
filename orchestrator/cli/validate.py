"""`orchestrator validate`: every problem of a definition at once, with no server."""

from pathlib import Path
from typing import Any

import click

from models.errors import InvalidError
from orchestrator.cli import local, out


@click.command()
@local.file_argument
@out.json_option
@click.pass_context
def validate(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Check a definition FILE (YAML, JSON or Python; - reads standard input) and show every problem."""
    answer = _check(file)
    if as_json:
        out.print_json(answer)
    else:
        _print(file, answer)
    ctx.exit(0 if answer["valid"] else 1)


def _check(file: Path) -> dict[str, Any]:
    """The answer in the shape of POST /api/workflows/validate."""
    try:
        compiled, _ = local.compile_(file)
    except InvalidError as error:
        problems = [
            {"pointer": found.pointer, "line": found.line, "code": found.code, "message": found.message}
            for found in error.problems
        ] or [{"pointer": "", "line": None, "code": error.code, "message": str(error)}]
        return {"valid": False, "errors": problems, "classification": None, "estimated_cost_cents": None}
    return {
        "valid": True,
        "errors": [],
        "classification": compiled.classification,
        "estimated_cost_cents": compiled.estimated_cost_cents,
        "estimate_is_lower_bound": compiled.estimate_is_lower_bound,
    }


def _print(file: Path, answer: dict[str, Any]) -> None:
    if not answer["valid"]:
        count = len(answer["errors"])
        click.echo(f"{file}: {count} problem{'s' if count > 1 else ''}")
        rows = [(e["line"], e["pointer"] or "/", e["code"], e["message"]) for e in answer["errors"]]
        out.print_table(("line", "pointer", "code", "problem"), rows, empty="")
        return
    least = "at least " if answer["estimate_is_lower_bound"] else ""
    classification = answer["classification"]
    click.echo(f"{file} is valid")
    click.echo(f"class {classification['class']}: {'; '.join(classification['reasons'])}")
    click.echo(f"estimated cost {least}{answer['estimated_cost_cents']} cents a run")
