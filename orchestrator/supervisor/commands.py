"""The command lines of a deployment's parts. Celery and gunicorn are started, never imported, from here."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import orchestrator

ALL_QUEUES = "control,steps,webhooks,sweeps"
_ROOT = Path(orchestrator.__file__).parent.parent


def worker(*, queues: str, pool: str, concurrency: int, name: str, log_level: str) -> tuple[str, ...]:
    """A Celery worker. Gossip and mingle are off: they cost a second at start and carry nothing of ours."""
    return (
        *_celery("worker", log_level),
        *("-Q", queues, "-P", pool, "-c", str(concurrency), "-n", f"{name}@%h"),
        *("--without-gossip", "--without-mingle"),
    )


def beat(*, data_dir: Path, log_level: str) -> tuple[str, ...]:
    """Celery beat; its schedule file is a cache, the truth is in beat_schedule.py and the database."""
    return (*_celery("beat", log_level), "-s", str(data_dir / "celerybeat-schedule"))


def api(*, bind: str) -> tuple[str, ...]:
    """The API under gunicorn. `bind` is `host:port` or `fd://<number>` of a socket that listens."""
    config = "python:orchestrator.supervisor.gunicorn_conf"
    return (sys.executable, "-m", "gunicorn", "-c", config, "-b", bind, "api.app:create_app()")


def gateway(*, data_dir: Path) -> tuple[str, ...]:
    """The local gateway on a free port, which it writes to `gateway.json`."""
    return (sys.executable, "-m", "orchestrator.gateway", "--data-dir", str(data_dir), "--port", "0")


def environment(given: Mapping[str, str], **more: str) -> dict[str, str]:
    """A child's environment: this checkout importable, output unbuffered, and `more`."""
    path = os.pathsep.join(part for part in (str(_ROOT), given.get("PYTHONPATH", "")) if part)
    return {**given, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


def _celery(program: str, log_level: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "celery", "-A", "tasks.app", program, "-l", log_level.upper())
