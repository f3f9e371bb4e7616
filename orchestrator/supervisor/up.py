"""`orchestrator up`: the whole stack under one supervisor in the foreground.

Source: spec "running".
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator.settings import Settings
from orchestrator.supervisor import leftovers, valkey
from orchestrator.supervisor.keeper import Keeper, StartError
from orchestrator.supervisor.listener import listen, url_of
from orchestrator.supervisor.place import Place
from orchestrator.supervisor.readiness import Readiness
from orchestrator.supervisor.signals import Signals
from orchestrator.supervisor.stack import Stack

BROKER_SECONDS = 30.0  # a long append-only file is read first
READY_SECONDS = 90.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says beside the settings."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 2
    gateway: bool = True


def up(settings: Settings, options: Options, *, ready: Say, say: Say) -> None:
    """Run the stack until SIGTERM or SIGINT, then drain it and leave nothing behind.

    `ready` gets the API's URL once everything answers, `say` a line for whatever happens to a child.
    Raises ConflictError (data directory or port taken), SettingsError, StartError.
    """
    settings = replace(settings, data_dir=settings.data_dir.absolute())
    place = Place(data_dir=settings.data_dir)
    place.prepare()
    with place.locked(), listen(options.host, options.port) as listener, Signals().handled() as signals:
        stack = Stack(
            settings=settings,
            place=place,
            url=url_of(listener),
            listener=listener.fileno(),
            workers=options.workers,
            gateway=options.gateway,
        )
        for name in leftovers.end(place):
            say(f"{name} was left by a supervisor that was killed; it is ended")
        keeper = Keeper(place, signals, say)
        if settings.broker_url is None:
            valkey.make_socket_dir(settings.embedded_socket)
        try:
            if _bring_up(stack, keeper):
                ready(stack.url)
                keeper.keep()
        finally:
            keeper.stop()
            if settings.broker_url is None:
                valkey.remove_socket_dir(settings.embedded_socket, place.data_dir)


def _bring_up(stack: Stack, keeper: Keeper) -> bool:
    settings, place = stack.settings, stack.place
    if settings.broker_url is None:
        socket_file = settings.embedded_socket
        valkey.end_leftover(socket_file)
        keeper.add(stack.broker())
    _prepare(stack)
    if settings.broker_url is None and not keeper.wait_for(
        lambda: valkey.answers(socket_file), BROKER_SECONDS, lambda: "The embedded broker does not answer"
    ):
        return False
    for program in stack.rest():
        keeper.add(program)
    readiness = Readiness(stack.url, place, gateway=stack.gateway)
    return keeper.wait_for(readiness, READY_SECONDS, readiness.missing)


def _prepare(stack: Stack) -> None:
    program = stack.preparation()
    done = subprocess.run(  # noqa: S603 - our own command line
        program.argv, env=program.env, capture_output=True, text=True, check=False
    )
    stack.place.log_file(program.name).write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise StartError(f"The database cannot be made ready:\n{last}")
