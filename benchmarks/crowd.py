"""`python -m benchmarks.crowd`: clients that each follow another run of one event a second, and a scraper of the API's
metrics, as a process of their own.

Takes one line of JSON on its standard input: port, key, clients; reads its database from the environment. Says
`following` when all listen, and what they heard, as JSON, when its input ends.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from threading import Event, Thread

from benchmarks import followed, serving
from benchmarks.followed import Followed
from benchmarks.following import Following
from orchestrator.services import deps as services
from orchestrator.services import keys
from orchestrator.settings import load

SCRAPE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """How many events, how late half of them at most; how many scrapes, how long half of them took at most."""

    events: int
    late_ms: float
    scrapes: int
    scrape_ms: float


def main() -> None:
    given = json.loads(sys.stdin.readline())
    deps = services.build(load())
    try:
        written = followed.begin(deps, keys.authenticate(deps, given["key"]), given["clients"])
        heard = asyncio.run(_follow(written, Following(port=given["port"], key=given["key"])))
    finally:
        deps.close()
    print(json.dumps(asdict(heard)), flush=True)


async def _follow(written: Followed, following: Following) -> Heard:
    await following.begin([f"/api/runs/{run}/stream" for run in written.runs])
    over, took = Event(), list[float]()
    threads = [
        Thread(target=written.write, args=(over,)),
        Thread(target=_scrape, args=(following.port, over, took)),
    ]
    for thread in threads:
        thread.start()
    print("following", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    over.set()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    following.end()
    return Heard(
        events=len(following.late),
        late_ms=_middle_ms(following.late),
        scrapes=len(took),
        scrape_ms=_middle_ms(took),
    )


def _scrape(port: int, over: Event, took: list[float]) -> None:
    while not over.wait(SCRAPE_SECONDS):
        began = time.monotonic()
        serving.get(port, "/metrics")
        took.append(time.monotonic() - began)


def _middle_ms(many: list[float]) -> float:
    return 1_000 * sorted(many)[len(many) // 2] if many else 0.0


if __name__ == "__main__":
    main()
