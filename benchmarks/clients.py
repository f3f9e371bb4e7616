"""`python -m benchmarks.clients`: 1,000 clients that follow 1,000 runs on one API process, an event a second each.

The API as it is shipped (gunicorn, threads) over a PostgreSQL of its own; the events are written by one transaction a
second. Prints how late they come, the API's memory and CPU, and how long another request takes meanwhile.
"""

import argparse
import asyncio
import os
import re
import tempfile
import time
from pathlib import Path
from threading import Event, Thread

from sqlalchemy.engine import make_url

from benchmarks import followed, place, serving, workers
from benchmarks.followed import Followed
from benchmarks.following import Following
from models import schema
from orchestrator.services import deps as services
from orchestrator.services import keys
from orchestrator.settings import Settings

SECONDS = 20
SECRET = "of-a-benchmark-that-keeps-nothing"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--workspace", action="store_true", help="follow the workspace's stream instead")
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    given = parser.parse_args()
    name = f"orchestrator_clients_{os.getpid()}"
    url = make_url(given.database).set(drivername="postgresql", database=name)
    place.execute(given.database, f"CREATE DATABASE {name}")
    try:
        text = url.render_as_string(hide_password=False)
        schema.upgrade(text)
        with tempfile.TemporaryDirectory() as folder:
            measure(text, Path(folder), given.clients, workspace=given.workspace)
    finally:
        place.execute(given.database, f"DROP DATABASE {name} WITH (FORCE)")


def measure(url: str, folder: Path, clients: int, *, workspace: bool) -> None:
    deps = services.build(Settings(database_url=url, data_dir=folder, secret_key=SECRET))
    key = keys.bootstrap(deps)
    written = followed.begin(deps, keys.authenticate(deps, key), 1 if workspace else clients)
    environ = {
        "ORCHESTRATOR_DATABASE_URL": url,
        "ORCHESTRATOR_DATA_DIR": str(folder),
        "ORCHESTRATOR_SECRET_KEY": SECRET,
        "ORCHESTRATOR_BROKER_URL": "redis://127.0.0.1:1/0",  # nobody there, and nobody needed
    }
    paths = [f"/api/runs/{run}/stream" for run in written.runs]
    try:
        with serving.api(environ, clients) as (pid, port):
            following = Following(port=port, key=key)
            asyncio.run(_follow(written, pid, following, ["/api/events/stream"] * clients if workspace else paths))
    finally:
        deps.close()


async def _follow(written: Followed, pid: int, following: Following, paths: list[str]) -> None:
    before = _memory(pid)
    await following.begin(paths)
    over = Event()
    writer = Thread(target=written.write, args=(over,))
    began, cpu = time.monotonic(), workers.cpu_of([pid])
    writer.start()
    asked = []
    for _ in range(SECONDS):
        await asyncio.sleep(1)
        asked.append(await asyncio.to_thread(_ask, following.port))
    took, spent = time.monotonic() - began, workers.cpu_of([pid]) - cpu
    over.set()
    writer.join()
    peak = _memory(pid)
    following.end()
    late = sorted(following.late)
    asked.sort()
    print("| clients | events/s | late p50 / p99 ms | MiB before, with | CPU | another request p50, max ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(
        f"| {len(paths)} | {len(late) / took:.0f} | {1000 * late[len(late) // 2]:.0f} / "
        f"{1000 * late[len(late) * 99 // 100]:.0f} | {before}, {peak} | {100 * spent / took:.0f} % | "
        f"{1000 * asked[len(asked) // 2]:.0f}, {1000 * asked[-1]:.0f} |"
    )


def _ask(port: int) -> float:
    began = time.monotonic()
    serving.get(port, "/readyz")
    return time.monotonic() - began


def _memory(pid: int) -> int:
    """Resident MiB of the API's process."""
    sizes = []
    for each in workers.with_children([pid]):
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{each}/status").read_text())
        sizes.append(int(found[1]) // 1024 if found else 0)
    return max(sizes)


if __name__ == "__main__":
    main()
