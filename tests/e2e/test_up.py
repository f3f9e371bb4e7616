"""`orchestrator up` as an operator sees it: ready, at work, wounded, stopped, and nothing left."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.settings import Settings
from tests.support.polling import poll
from tests.support.up import CHILDREN, Up

HELLO = """\
name: hello
inputs: {type: object, required: [who], properties: {who: {type: string}}}
outputs: {said: "{{two.text}}"}
nodes:
  - {id: one, type: transform, expression: '{"text": "hello " & who}'}
  - {id: two, type: transform, expression: '{"text": $uppercase(text)}'}
edges: [one >> two]
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*options: str, name: str = "data") -> Up:
        started.append(Up(tmp_path / name, *options))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.mark.crash
def test_up_works_heals_and_leaves_nothing(up: Callable[..., Up], tmp_path: Path) -> None:
    stack = up()
    stack.ready()
    assert set(stack.pids()) == CHILDREN
    assert (stack.data_dir / "admin.key").stat().st_mode & 0o777 == 0o600

    file = tmp_path / "hello.yaml"
    file.write_text(HELLO)
    done = stack.command("run", str(file), "-i", "who=ada", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert (run["status"], run["outputs"]) == ("success", {"said": "HELLO ADA"})
    refused = stack.command("run", str(file), "-i", "who=1")
    assert refused.returncode == 1
    assert "/inputs/who" in refused.stderr

    told = json.loads(stack.command("doctor", "--json").stdout)
    assert told["ok"], told
    assert told["fan_in"] == "chord"
    assert told["broker_url"].startswith("redis+socket://")

    sound = stack.command("fsck", "--json")
    assert json.loads(sound.stdout) == {"ok": True, "violations": []}
    assert sound.returncode == 0

    for name in sorted(CHILDREN):
        before = stack.pids()[name]
        os.kill(before, signal.SIGKILL)
        poll(lambda name=name, before=before: stack.pids().get(name, before) != before, 15, f"a new {name}")
    done = stack.command("run", str(file), "-i", "who=bob")
    assert done.returncode == 0, done.stderr
    assert "HELLO BOB" in done.stdout

    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(15) == 0
    assert stack.family() == []
    assert stack.pids() == {}


@pytest.mark.crash
def test_a_killed_supervisor_takes_its_children_along_and_the_next_one_starts(up: Callable[..., Up]) -> None:
    stack = up()
    stack.ready()
    second = up()
    assert second.process.wait(10) == 1
    assert "belongs to an `orchestrator up` that runs" in second.errors.read_text()

    stack.process.kill()
    stack.process.wait()
    poll(lambda: stack.family() == [], 10, "the end of all children")
    third = up()
    third.ready()
    assert set(third.pids()) == CHILDREN


def test_a_taken_port_is_told_in_one_sentence(up: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = up("--port", str(port))
        assert stack.process.wait(10) == 1
    assert f"127.0.0.1:{port}: the port is taken" in stack.errors.read_text()
    assert stack.family() == []


def test_a_data_directory_deeper_than_a_socket_address_works(up: Callable[..., Up]) -> None:
    stack = up(name="/".join(["a-rather-long-name"] * 6))
    stack.ready()
    assert stack.command("doctor").returncode == 0
    socket_dir = Settings(data_dir=stack.data_dir).embedded_socket.parent
    assert not socket_dir.is_relative_to(stack.data_dir)
    assert socket_dir.stat().st_mode & 0o777 == 0o700
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(15) == 0
    assert not socket_dir.exists()
