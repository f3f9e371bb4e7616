"""`orchestrator api`, `worker`, `beat`: the parts alone, for production. Each becomes its program."""

import os
import re
from importlib.util import find_spec
from typing import NoReturn

import click

from orchestrator.settings import load
from orchestrator.supervisor import commands

_QUEUE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
def api(host: str, port: int) -> None:
    """Serve the API with gunicorn."""
    load()
    _become(commands.api(bind=f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))


@click.command()
@click.option("--queues", default=commands.ALL_QUEUES, show_default=True, help="Comma list.")
@click.option("--pool", type=click.Choice(["prefork", "threads", "gevent"]), default="threads")
@click.option("--concurrency", type=click.IntRange(1), help="Default: 64, of processes one a CPU.")
@click.option("--name", help="The node's name; default: the first queue and the process id.")
def worker(queues: str, pool: str, concurrency: int | None, name: str | None) -> None:
    """Work for queues with Celery."""
    _check_names(queues)
    _check_installed(pool)
    number = concurrency or (os.cpu_count() or 1 if pool == "prefork" else 64)
    name = name or f"{queues.split(',')[0]}-{os.getpid()}"
    _become(
        commands.worker(queues=queues, pool=pool, concurrency=number, name=name, log_level=load().log_level)
    )


@click.command()
def beat() -> None:
    """Tick the sweeps with Celery beat. More than one does no harm."""
    settings = load()
    data_dir = settings.data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    _become(commands.beat(data_dir=data_dir, log_level=settings.log_level))


def _check_names(queues: str) -> None:
    """Besides the queues that are always there, a node may name one of its own."""
    for queue in queues.split(","):
        if not _QUEUE.fullmatch(queue):
            message = f"{queue!r} is no queue; write 1 to 64 letters, digits, _ . : and -"
            raise click.BadParameter(message, param_hint="--queues")


def _check_installed(pool: str) -> None:
    if pool == "gevent" and find_spec("gevent") is None:
        message = "gevent is not installed; pip install gevent, or use threads"
        raise click.BadParameter(message, param_hint="--pool")


def _become(argv: tuple[str, ...]) -> NoReturn:
    os.execve(argv[0], argv, commands.environment(os.environ))  # noqa: S606 - no shell, our own command lines
