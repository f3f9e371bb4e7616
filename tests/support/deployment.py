"""Real processes over PostgreSQL and Redis, killed and started again, and a client that does not give up."""

import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from models.database import Database
from models.event import Event
from models.run import Run
from models.states import RUN_TERMINAL
from orchestrator.services import deps as services
from orchestrator.services import keys
from orchestrator.services.deps import Deps
from orchestrator.settings import Settings
from tests.support.polling import poll
from tests.support.processes import StartProgram
from tests.support.programs import Program
from tests.support.soundness import assert_sound


class Deployment:
    """Processes by name. `effects` is where steps log that they worked."""

    def __init__(self, settings: Settings, programs: StartProgram, effects: Path) -> None:
        self.settings = settings
        self.effects = effects
        self.deps: Deps = services.build(settings)
        self.database: Database = self.deps.db
        self._programs = programs
        self._commands: dict[str, tuple[str, ...]] = {}
        self._running: dict[str, Program] = {}
        self._key = keys.bootstrap(self.deps)
        self._port = _free_port()

    def worker(self, name: str, *, pool: str = "threads", concurrency: int = 8, **extra: str) -> Program:
        """A worker of every queue, ready."""
        queues = "control,steps,webhooks,sweeps"
        command = (
            "-m",
            "celery",
            "-A",
            "tasks.app",
            "worker",
            "-Q",
            queues,
            "-P",
            pool,
            "-n",
            f"{name}@test",
        )
        options = ("-c", str(concurrency), "--loglevel", "info", "--without-gossip", "--without-mingle")
        return self._start(name, (*command, *options), **extra)

    def beat(self, name: str = "beat") -> Program:
        schedule = str(self.effects.with_name(f"{name}-schedule"))
        return self._start(name, ("-m", "celery", "-A", "tasks.app", "beat", "-l", "info", "-s", schedule))

    def api(self) -> Program:
        config = "python:orchestrator.supervisor.gunicorn_conf"
        bind = f"127.0.0.1:{self._port}"
        return self._start("api", ("-m", "gunicorn", "-c", config, "-b", bind, "api.app:create_app()"))

    def program(self, name: str) -> Program:
        return self._running[name]

    def ready(self, name: str, limit: float = 40.0) -> None:
        """Wait until a process does its work."""
        line = {"beat": "beat: Starting", "api": "Listening at"}.get(name.partition("-")[0], f"{name}@test ready")
        self._running[name].wait_until(line, limit)

    def kill(self, name: str) -> None:
        """SIGKILL to the parent, then the same command again."""
        self._running[name].kill()
        self._running[name].end()
        self._start(name, self._commands[name])

    def end(self, name: str) -> None:
        self._running.pop(name).end()

    def children(self, name: str) -> list[int]:
        """The pool children of a prefork worker."""
        return [pid for pid in _processes() if _parent(pid) == self._running[name].pid]

    def post(self, path: str, body: Any, key: str) -> dict[str, Any]:
        """Ask the API until it answers; the same key makes it one request."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self._port}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers | {"Idempotency-Key": key})

        def answer() -> dict[str, Any] | None:
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    found: dict[str, Any] = json.loads(response.read())
                    return found
            except urllib.error.HTTPError as error:
                if error.code not in (409, 503):
                    raise
            except OSError:
                pass  # the API is gone or on its way; the request is sent again
            return None

        return poll(answer, 30, f"an answer to POST {path}")  # type: ignore[return-value]

    def define(self, definition: dict[str, Any]) -> None:
        self.post("/api/workflows", definition, f"define-{definition['name']}")

    def trigger(self, workflow: str, count: int, spread: float = 0.0) -> list[str]:
        """Start runs over HTTP, some time apart; their ids."""
        found = []
        for number in range(count):
            answer = self.post(f"/api/workflows/{workflow}/runs", {}, f"{workflow}-{number}")
            found.append(answer["id"])
            time.sleep(spread)  # the load's own pace, nothing is waited for
        return found

    def trigger_meanwhile(self, workflow: str, count: int, spread: float) -> Callable[[], list[str]]:
        """The same in a thread; call the result for the ids."""
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.extend(self.trigger(workflow, count, spread)))
        thread.start()

        def ids() -> list[str]:
            thread.join(90)
            assert len(found) == count, f"{len(found)} of {count} runs were started"
            return found

        return ids

    def statuses(self) -> Counter[str]:
        """How many runs are in which status."""
        with self.database.read() as session:
            rows = session.execute(select(Run.status, func.count()).group_by(Run.status))
            return Counter(dict(map(tuple, rows)))

    def done(self) -> int:
        """How many steps have completed."""
        with self.database.read() as session:
            rows = select(func.count()).select_from(Event).where(Event.type == "step.completed")
            return int(session.execute(rows).scalar_one())

    def moments(self, run_id: str, kind: str, step: str) -> list[float]:
        """When a step's events of a kind were."""
        with self.database.read() as session:
            rows = select(Event.at).where(Event.run_id == run_id, Event.type == kind, Event.step == step)
            return [at.timestamp() for (at,) in session.execute(rows.order_by(Event.seq))]

    def told(self, run_id: str, step: str) -> list[tuple[str, str | None]]:
        """A step's events: types and reasons."""
        with self.database.read() as session:
            rows = select(Event.type, Event.data).where(Event.run_id == run_id, Event.step == step)
            return [(type_, data.get("reason")) for type_, data in session.execute(rows.order_by(Event.seq))]

    def all_ended(self, count: int, limit: float = 60.0, *, status: str = "success") -> None:
        """Wait for the end of `count` runs, and check every invariant of each; all end so."""

        def ended() -> bool:
            found = self.statuses()
            return sum(found[status] for status in RUN_TERMINAL) == count == sum(found.values())

        poll(ended, limit, f"the end of {count} runs")
        assert self.statuses() == {status: count}
        assert_sound(self.deps)
        self._effects_have_one_key()

    def _effects_have_one_key(self) -> None:
        """However often a body ran, it did so under its step's one key."""
        seen: dict[tuple[str, str], set[str]] = defaultdict(set)
        for line in self.effects.read_text().splitlines():
            run_id, path, _, key, _ = line.split()
            seen[run_id, path].add(key)
        assert seen
        assert [where for where, keys_ in seen.items() if len(keys_) > 1] == []

    def close(self) -> None:
        self.deps.close()

    def _start(self, name: str, command: tuple[str, ...], **extra: str) -> Program:
        self._commands[name] = command
        self._running[name] = self._programs(self.settings, *command, extra=extra)
        return self._running[name]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None
