"""`orchestrator bus` on a real Redis: follow, replay, dead letters."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import SettingsError
from orchestrator import registry
from orchestrator.bus import BusParts, EventBus
from orchestrator.settings import Settings
from tests.support.buses import Open, said
from tests.support.polling import poll
from tests.support.processes import StartProgram
from tests.support.programs import Program

pytestmark = [pytest.mark.redis, pytest.mark.parametrize("bus_kind", ["redis"])]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(programs: StartProgram, bus_url: str, bus_kind: str) -> Run:
    """`run(arguments…) -> (exit code, output)` of `orchestrator bus`."""

    def call(*arguments: str, url: str = bus_url) -> tuple[int, str]:
        program = programs(Settings(event_bus=url), "-m", "orchestrator.cli", "bus", *arguments)
        poll(lambda: program.ended() is not None, 20)
        return program.ended() or 0, program.log()

    return call


def tail(programs: StartProgram, bus_url: str, *arguments: str) -> Program:
    return programs(Settings(event_bus=bus_url), "-m", "orchestrator.cli", "bus", "tail", *arguments)


def test_events_are_lines_of_json_until_it_is_stopped(
    programs: StartProgram, bus_url: str, event_bus: EventBus, name: str, bus_kind: str
) -> None:
    event_bus.subscribe(name).close()
    program = tail(programs, bus_url, "--name", name, "--types", "run.*, step.failed")
    types = ("run.created", "step.queued", "step.failed", "run.completed")
    event_bus.publish([said(seq, type_=type_, data="✓") for seq, type_ in enumerate(types, 1)])
    poll(lambda: "run.completed" in program.log(), 20)
    program.signal(signal.SIGINT)
    poll(lambda: program.ended() is not None)
    assert program.ended() == 0
    found = [json.loads(line) for line in program.log().splitlines()]
    assert [(event["seq"], event["type"], event["data"]) for event in found] == [
        (1, "run.created", "✓"),
        (3, "step.failed", "✓"),
        (4, "run.completed", "✓"),
    ]


def test_what_a_command_refuses_is_a_dead_letter_that_can_be_sent_again(
    programs: StartProgram, bus_url: str, event_bus: EventBus, name: str, run: Run, tmp_path: Path, bus_kind: str
) -> None:
    heard = tmp_path / "heard"
    command = f"if grep -q '\"seq\": 2,'; then test -e {heard}; fi"
    event_bus.subscribe(name).close()
    program = tail(programs, bus_url, "--name", name, "--exec", command)
    event_bus.publish([said(seq) for seq in range(1, 4)])
    poll(lambda: event_bus.dead_letters(name), 40, "the dead letter")
    code, shown = run("dead-letters", name, "--json")
    (letter,) = json.loads(shown)
    assert (code, letter["id"], letter["tries"], letter["event"]["seq"]) == (0, "r1:2", 5, 2)
    assert "returned non-zero exit status 1" in letter["reason"]
    assert "r1:2" in run("dead-letters", name)[1]
    heard.touch()
    assert run("requeue", name, "r1:2") == (0, f"1 sent to {name} again\n")
    assert run("requeue", name, "--all") == (0, f"0 sent to {name} again\n")
    assert run("dead-letters", name) == (0, "No dead letters.\n")
    assert program.stop() == 0
    assert run("remove", name) == (0, f"{name} is removed\n")


TAIL = """
import subprocess, sys
command = [sys.executable, "-m", "orchestrator.cli", "bus", "tail", *sys.argv[1:]]
tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
"""
WARNED = """
print("warned:", b"is away" in tail.stderr.readline())
tail.terminate()
print("events:", tail.communicate()[0])
"""
READS_ONE = """
tail.stdout.readline()
tail.stdout.close()
tail.wait()
"""


def test_a_reader_that_goes_refuses_nothing(
    programs: StartProgram, bus_url: str, event_bus: EventBus, name: str, bus_kind: str
) -> None:
    """`tail | head -1`: what comes after the line is for the next time."""
    event_bus.subscribe(name).close()
    reader = programs(Settings(event_bus=bus_url), "-c", TAIL + READS_ONE, "--name", name)
    event_bus.publish([said(seq) for seq in range(1, 200)])
    poll(lambda: reader.ended() is not None, 40, "the end of a tail that nobody reads")
    assert event_bus.dead_letters(name) == []
    again = tail(programs, bus_url, "--name", name)
    poll(lambda: any(event["seq"] == 199 for event in map(json.loads, again.log().splitlines())), 20)


def test_warnings_are_not_among_the_events(programs: StartProgram, name: str, bus_kind: str) -> None:
    reader = programs(Settings(event_bus="redis://127.0.0.1:1/0"), "-c", TAIL + WARNED, "--name", name)
    poll(lambda: reader.ended() is not None, 20, "a warning and the end")
    assert reader.log() == "warned: True\nevents: b''\n"


def test_misuse_is_one_sentence(run: Run, name: str, bus_kind: str) -> None:
    assert "name the messages, or write --all" in run("requeue", name)[1]
    assert "exclude each other" in run("tail", "--name", name, "--replay", "start", "--replay-run", "x")[1]
    assert "is no number of an event" in run("tail", "--name", name, "--replay-run", "x:y")[1]
    assert "picks no events" in run("tail", "--name", name, "--types", "Run created")[1]
    assert "is no name of a subscriber" in run("tail", "--name", "a b")[1]
    for url, why in (("off", "is off"), ("memory://", "within each process alone")):
        code, said_ = run("dead-letters", name, url=url)
        assert code == 2
        assert why in said_
    code, said_ = run("dead-letters", name, url="redis://127.0.0.1:1/0")
    assert (code, "does not answer" in said_) == (1, True)


def test_the_driver_of_an_unknown_scheme_is_missed(open_bus: Open, bus_kind: str) -> None:
    with pytest.raises(SettingsError, match="there is no driver for an event bus at kafka://"):
        registry.make_bus(BusParts(settings=Settings(), url="kafka://x"))
