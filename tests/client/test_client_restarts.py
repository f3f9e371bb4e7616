"""The client against gunicorn as it is deployed, killed and started again in the middle of everything."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from models.database import Database
from models.run import Run
from models.states import RUN_TERMINAL
from orchestrator.client import Client
from orchestrator.services import keys
from orchestrator.settings import Settings
from tests.support import engine as engines
from tests.support.engine import Engine
from tests.support.polling import poll
from tests.support.processes import StartProgram
from tests.support.programs import Program
from tests.support.soundness import assert_sound

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

NODES = [{"id": f"n{number}", "type": "transform", "expression": str(number)} for number in range(10)]
LONG = {"name": "long", "nodes": NODES, "edges": [" >> ".join(node["id"] for node in NODES)]}


@pytest.fixture
def engine(database: Database, settings: Settings) -> Iterator[Engine]:
    """What carries the steps that the API leaves in the database."""
    made = engines.make(database, settings=settings)
    yield made
    assert_sound(made.deps)


@pytest.fixture
def gunicorn(settings: Settings, programs: StartProgram) -> tuple[Callable[[], Program], str]:
    """`(start, url)`: starts the API, always on the same port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    served = replace(settings, broker_url="redis://127.0.0.1:1/0", url=f"http://127.0.0.1:{port}")

    def start() -> Program:
        config = "python:orchestrator.supervisor.gunicorn_conf"
        bind = f"127.0.0.1:{port}"
        return programs(served, "-m", "gunicorn", "-c", config, "-b", bind, "api.app:create_app()")

    return start, served.url


def kill(program: Program) -> None:
    program.kill()
    program.end()


def test_a_kill_of_the_api_loses_and_doubles_nothing(
    gunicorn: tuple[Callable[[], Program], str], engine: Engine
) -> None:
    start, url = gunicorn
    key = keys.bootstrap(engine.deps)
    program = start()
    program.wait_until("Booting worker", 30)
    with Client(url, api_key=key, retries=20) as client:
        client.workflows.create(LONG)
        run = client.runs.start("long")["id"]
        events = client.runs.events(run)
        seen = [next(events)]
        ended: list[str] = []
        waiting = threading.Thread(target=lambda: ended.append(client.runs.wait(run)["status"]))
        waiting.start()
        kill(program)
        triggered: list[str] = []
        trigger = threading.Thread(target=lambda: triggered.append(client.runs.start("long")["id"]))
        trigger.start()
        start()
        trigger.join(60)
        carry(engine)
        seen += events
        waiting.join(60)

        assert seen == list(client.runs.log(run))
        assert seen[-1]["type"] == "run.completed"
        assert ended == ["success"]
        assert {found["id"] for found in client.runs.list()} == {run, *triggered}
        assert client.runs.wait(triggered[0], timeout=30, check=True)


def carry(engine: Engine) -> None:
    """Do the work of the runs that the API started: found by the sweeps, as its broker is nowhere."""

    def all_ended() -> bool:
        engine.sweep()
        engine.drain()
        with engine.deps.db.read() as session:
            still = select(func.count()).select_from(Run).where(Run.status.not_in(RUN_TERMINAL))
            return session.execute(still).scalar_one() == 0

    poll(all_ended, 60, "the end of all runs")
