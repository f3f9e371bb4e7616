"""`python -m orchestrator.gateway --data-dir DIR [--port 0]`: the local gateway as a process of its own.

When it listens it writes DIR/gateway.json, {"url", "token"}, for its owner only. SIGTERM and SIGINT
drain and end it.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
from pathlib import Path

from orchestrator.gateway.ledger import Ledger
from orchestrator.gateway.server import Options, Server, listen

_GRACE = 5.0


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="orchestrator.gateway", description="The local agent gateway.")
    parser.add_argument("--data-dir", type=Path, required=True, help="where gateway.json and gateway.db lie")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    given = parser.parse_args()
    os.umask(0o077)  # the ledger holds what agents were told
    given.data_dir.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(given.data_dir, given.port))


async def _serve(data_dir: Path, port: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    token = secrets.token_urlsafe(32)
    listener = listen(port)
    ledger = Ledger(data_dir / "gateway.db")
    server = Server(ledger, Options(token=token))
    file = data_dir / "gateway.json"
    # The socket takes connections from here on; who comes early waits in its queue.
    announce(file, f"ws://127.0.0.1:{listener.getsockname()[1]}", token)
    try:
        await server.start(listener)
        await ended.wait()
        await server.stop(_GRACE)
    finally:
        withdraw(file, token)
        ledger.close()


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
