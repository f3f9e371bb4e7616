"""`python -m orchestrator.gateway --data-dir DIR [option …]`: the local gateway as a process of its own.

When it listens it writes DIR/gateway.json, {"url", "token"}, for its owner only. SIGTERM and SIGINT
drain and end it. What its runs do can be scripted: orchestrator/gateway/script.py.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
from pathlib import Path
from typing import get_args

from orchestrator.gateway.database import open_database
from orchestrator.gateway.options import Options, Pairing
from orchestrator.gateway.server import Server, listen

_GRACE = 5.0


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="orchestrator.gateway", description="The local agent gateway.")
    parser.add_argument("--data-dir", type=Path, required=True, help="where gateway.json and gateway.db lie")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    usual = Options(token="")
    parser.add_argument("--most", type=int, default=usual.most, help="runs at once; default %(default)s")
    parser.add_argument(
        "--create-delay",
        type=float,
        default=usual.create_delay,
        help="seconds until an agent that was created can be called; default %(default)s",
    )
    parser.add_argument(
        "--pairing",
        choices=get_args(Pairing),
        default=usual.pairing,
        help="manual: an operator approves each device, and other clients get no scopes",
    )
    parser.add_argument("--known-agents-only", action="store_true", help="refuse agents that nobody created")
    parser.add_argument("--tasks-execute", action="store_true", help="have the method tasks.execute")
    given = parser.parse_args()
    os.umask(0o077)  # the database holds what agents were told
    given.data_dir.mkdir(parents=True, exist_ok=True)
    options = Options(
        token=secrets.token_urlsafe(32),
        most=given.most,
        create_delay=given.create_delay,
        pairing=given.pairing,
        known_agents_only=given.known_agents_only,
        tasks_execute=given.tasks_execute,
        die=lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
    asyncio.run(_serve(given.data_dir, given.port, options))


async def _serve(data_dir: Path, port: int, options: Options) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    listener = listen(port)
    database = open_database(data_dir / "gateway.db")
    server = Server(database, options)
    file = data_dir / "gateway.json"
    # The socket takes connections from here on; who comes early waits in its queue.
    announce(file, f"ws://127.0.0.1:{listener.getsockname()[1]}", options.token)
    try:
        await server.start(listener)
        await ended.wait()
        await server.stop(_GRACE)
    finally:
        withdraw(file, options.token)
        database.close()


def announce(file: Path, url: str, token: str) -> None:
    """Write the address at once and whole, readable by its owner only."""
    draft = file.with_suffix(f".{os.getpid()}.tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump({"url": url, "token": token}, out)
    draft.replace(file)


def withdraw(file: Path, token: str) -> None:
    """Remove the address, unless another gateway has written its own since."""
    try:
        if json.loads(file.read_text()).get("token") == token:
            file.unlink()
    except (OSError, ValueError):
        pass  # gone already


if __name__ == "__main__":
    main()
