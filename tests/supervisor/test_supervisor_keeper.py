"""Children are kept alive, restarted with backoff, stopped in order and in time: with real processes."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.errors import ConflictError
from orchestrator.supervisor import leftovers
from orchestrator.supervisor.child import Child, Program
from orchestrator.supervisor.keeper import Keeper, StartError
from orchestrator.supervisor.place import Place
from orchestrator.supervisor.signals import Signals
from tests.support.polling import poll

SLEEPER = "import signal, time; print('up', flush=True); time.sleep(600)"
SLOW = (
    "import signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.3), sys.exit(0)));"
    "print('up', flush=True); time.sleep(600)"
)
# Asked to end, it stays, and asks the keeper once more for the impatient operator (SIGINT may be ignored).
STUBBORN = (
    "import os, signal, time; signal.signal(15, lambda *_: os.kill(os.getppid(), 15));"
    "print('up', flush=True)\nwhile True: time.sleep(600)"
)
PARENT = (
    "import subprocess, sys, time;"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(p.pid, flush=True); time.sleep(600)"
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(data_dir=tmp_path)
    made.prepare()
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def keeper(place: Place, said: list[str]) -> Iterator[Keeper]:
    with Signals().handled() as signals:
        made = Keeper(place, signals, said.append)
        yield made
        made.stop()


def program(name: str, code: str, *, stage: int = 0, **env: str) -> Program:
    argv = (sys.executable, "-S", "-c", code)
    return Program(name=name, argv=argv, env={"PATH": os.environ["PATH"], **env}, stage=stage)


def pid_of(place: Place, name: str) -> int:
    return int(place.pid_file(name).read_text())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def logged(place: Place, name: str) -> Callable[[], bool]:
    return lambda: place.log_file(name).read_text().strip() != ""


def until(keeper: Keeper, done: Callable[[], bool]) -> None:
    assert keeper.wait_for(done, 10, lambda: "it does not come")


def test_a_killed_child_is_started_again(keeper: Keeper, place: Place, said: list[str]) -> None:
    keeper.add(program("one", SLEEPER))
    first = pid_of(place, "one")
    os.kill(first, signal.SIGKILL)
    until(keeper, lambda: place.pid_file("one").exists() and pid_of(place, "one") != first)
    assert "one ended by SIGKILL" in said[0]


def test_what_a_dead_child_started_is_ended_with_it(keeper: Keeper, place: Place) -> None:
    keeper.add(program("family", PARENT))
    until(keeper, logged(place, "family"))
    grandchild = int(place.log_file("family").read_text().split()[0])
    os.kill(pid_of(place, "family"), signal.SIGKILL)
    until(keeper, lambda: gone(grandchild))


def test_a_child_that_keeps_dying_at_start_is_an_error_with_its_log(keeper: Keeper) -> None:
    keeper.add(program("broken", "print('no such thing'); raise SystemExit(3)"))
    with pytest.raises(StartError, match=r"(?s)broken does not start: it ended with code 3.*no such thing"):
        keeper.wait_for(lambda: False, 10, lambda: "never")


def test_what_is_missing_after_the_time_is_named(keeper: Keeper) -> None:
    with pytest.raises(StartError, match=r"The moon is missing after 0\.1 s"):
        keeper.wait_for(lambda: False, 0.1, lambda: "The moon is missing")


def test_stages_stop_one_after_the_other(keeper: Keeper, place: Place) -> None:
    keeper.add(program("worker", SLOW))
    keeper.add(program("broker", SLOW, stage=2))
    until(keeper, logged(place, "worker"))
    until(keeper, logged(place, "broker"))
    broker = pid_of(place, "broker")
    began = time.monotonic()
    keeper.stop()
    assert 0.6 <= time.monotonic() - began < 5
    assert gone(broker)
    assert place.pid_files == []


def test_a_child_that_ignores_the_stop_is_killed_at_a_second_one(
    keeper: Keeper, place: Place, said: list[str]
) -> None:
    keeper.add(program("stubborn", STUBBORN))
    until(keeper, logged(place, "stubborn"))
    pid = pid_of(place, "stubborn")
    began = time.monotonic()
    keeper.stop()
    assert time.monotonic() - began < 2
    assert gone(pid)
    assert "stubborn did not end in time and is killed" in said


def test_the_delay_doubles_until_a_child_settles(place: Place) -> None:
    now = [0.0]
    child = Child(program("flapping", "pass"), place, clock=lambda: now[0])
    delays = []
    for lived in (0, 0, 0, 11, 0):
        child.start()
        now[0] += lived
        while child.reap() is None:
            os.sched_yield()
        delays.append(child.postpone())
    assert delays == [0.1, 0.2, 0.4, 0.1, 0.2]


def test_logs_are_rotated_at_start_and_three_kept(place: Place) -> None:
    for number in range(5):
        place.log_file("api").write_text(str(number))
        place.rotate("api")
    kept = {file.name: file.read_text() for file in place.log_file("api").parent.iterdir()}
    assert kept == {"api.log.1": "4", "api.log.2": "3", "api.log.3": "2"}


def test_a_data_directory_has_one_supervisor(place: Place) -> None:
    with place.locked(), pytest.raises(ConflictError, match=rf"runs \(pid {os.getpid()}\)"), place.locked():
        pass
    with place.locked():
        pass


def test_leftovers_are_ended_and_strangers_with_a_reused_pid_are_not(place: Place) -> None:
    ours = Child(program("beat", SLEEPER, ORCHESTRATOR_DATA_DIR=str(place.data_dir)), place)
    stranger = Child(program("worker-1", SLEEPER, ORCHESTRATOR_DATA_DIR="/elsewhere"), place)
    for child in (ours, stranger):
        child.start()
        poll(logged(place, child.name))  # a process has no environment to read until it has begun
    pids = {name: pid_of(place, name) for name in ("beat", "worker-1")}
    assert leftovers.end(place) == ["beat"]
    assert place.pid_files == []
    assert gone(pids["beat"])
    assert not gone(pids["worker-1"])
    for child in (ours, stranger):
        child.signal(signal.SIGKILL)
        while child.running:
            child.reap()
