"""The command line. Each command's module is imported when its name is looked up, so that help is quick."""

from importlib import import_module
from typing import Any

import click

from models.errors import InvalidError, OrchestratorError, SettingsError
from orchestrator.client import ClientError

_COMMANDS = {
    "up": "up:up",
    "demo": "demo:demo",
    "run": "run:run",
    "validate": "validate:validate",
    "mermaid": "mermaid:mermaid",
    "workflows": "workflows:workflows",
    "runs": "runs:runs",
    "show": "show:show",
    "history": "history:history",
    "watch": "watch:watch",
    "pause": "control:pause",
    "resume": "control:resume",
    "abort": "control:abort",
    "compensate": "control:compensate",
    "approvals": "people:approvals",
    "approve": "people:approve",
    "reject": "people:reject",
    "signal": "people:signal",
    "retry": "control:retry",
    "skip": "control:skip",
    "complete": "control:complete",
    "rerun": "control:rerun",
    "checkpoints": "checkpoints:checkpoints",
    "restore": "checkpoints:restore",
    "fork": "checkpoints:fork",
    "agents": "agents:agents",
    "gateways": "agents:gateways",
    "hooks": "hooks:hooks",
    "webhooks": "webhooks:webhooks",
    "schedules": "schedules:schedules",
    "keys": "keys:keys",
    "bus": "bus:bus",
    "api": "parts:api",
    "worker": "parts:worker",
    "beat": "parts:beat",
    "db": "db:db",
    "audit": "audit:audit",
    "fsck": "fsck:fsck",
    "rebuild": "rebuild:rebuild",
    "doctor": "doctor:doctor",
}


class _Misuse(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Commands by name, imported one at a time; our own errors end the program with their sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"orchestrator.cli.{module}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (OrchestratorError, ClientError) as error:
            kind = _Misuse if isinstance(error, SettingsError) else click.ClickException
            raise kind(_text(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celery-orchestrator", prog_name="orchestrator")
def main() -> None:
    """Durable workflows of agents and services on Celery.

    Talks to the API at ORCHESTRATOR_URL with ORCHESTRATOR_API_KEY; by default to the stack that
    `orchestrator up` runs from this directory.
    """


def _text(error: OrchestratorError | ClientError) -> str:
    lines = [str(error)]
    if isinstance(error, InvalidError):
        for problem in error.problems:
            place = f"line {problem.line}, " if problem.line else ""
            lines.append(f"  {place}{problem.pointer or '/'}: {problem.code}: {problem.message}")
    return "\n".join(lines)
