"""W1 to W4 beside clients that follow runs and a scraper of the metrics, against the same without them."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks import cpu, measured, place, serving, workers
from benchmarks.cpu import Cpu
from benchmarks.driver import Driver, driver
from benchmarks.measured import Measured, Pairs, table
from benchmarks.shapes import MAIN, WARM_UP, Shape, chosen
from benchmarks.turns import Way, in_turn
from orchestrator.services import deps as services
from orchestrator.services import keys
from orchestrator.settings import load
from orchestrator.supervisor import commands

TARGET = 1.2
CATCH_UP = 2.0
HEADINGS = ("workload", "without, ms a step", "with clients, ms a step", "with ÷ without")


def beside(given: argparse.Namespace) -> str:
    """A table. The API and the clients stand still while the shapes are run without them."""
    with place.servers(given.database, given.broker, given.redis) as at:
        environ = at.environment()
        with driver(environ) as own, workers.ours(environ, at.data_dir, given.threads) as pids:
            spent = cpu.ours(at, pids)
            with serving.api(environ, given.clients) as (api, port), _crowd(environ, port, given.clients) as crowd:
                rows = []
                for shape in (*WARM_UP, *chosen(given.only, MAIN)):
                    for kind in shape.kinds:
                        ways: dict[str, Way] = {
                            "without": partial(_without, [api, crowd.pid], own, kind, spent),
                            "with": partial(_with, own, kind, spent),
                        }
                        found = in_turn(shape, ways, 1 if shape in WARM_UP else given.repeats)
                        if shape not in WARM_UP:
                            title = shape.titled(kind)
                            rows.append(_row(Pairs(title=title, first=found["without"], second=found["with"])))
                heard = crowd.end()
    target = f"Medians of {given.repeats}; the ratio is to be {TARGET} at most. {heard}"
    return f"{table(HEADINGS, rows)}\n\n- {target}"


class _Crowd:
    """The process of the clients."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child
        self.pid = child.pid

    def end(self) -> str:
        """End it; what it heard, in a sentence."""
        said, _ = self._child.communicate(timeout=60)
        heard: dict[str, Any] = json.loads(said)
        return (
            f"The clients heard {heard['events']:,} events, half of them {heard['late_ms']:.0f} ms late at most; "
            f"{heard['scrapes']} scrapes took {heard['scrape_ms']:.0f} ms."
        )


@contextmanager
def _crowd(environ: Mapping[str, str], port: int, clients: int) -> Iterator[_Crowd]:
    deps = services.build(load(environ))
    key = keys.bootstrap(deps)
    deps.close()
    child = subprocess.Popen(
        (sys.executable, "-m", "benchmarks.crowd"),
        env=commands.environment(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"port": port, "key": key, "clients": clients}) + "\n")
        child.stdin.flush()
        if child.stdout.readline() != "following\n":
            raise RuntimeError("the clients do not follow")
        yield _Crowd(child)
    finally:
        if child.poll() is None:
            child.terminate()
        child.wait()


def _without(others: list[int], own: Driver, kind: str, spent: Cpu, shape: Shape) -> Measured:
    with workers.stopped(others):
        workers.settle()
        return own.run(shape, kind, spent)


def _with(own: Driver, kind: str, spent: Cpu, shape: Shape) -> Measured:
    time.sleep(CATCH_UP)  # after they stood still
    return own.run(shape, kind, spent)


def _row(pairs: Pairs) -> tuple[str, ...]:
    steps = pairs.first[0].steps
    return (
        pairs.title,
        *(f"{1_000 * measured.seconds(side) / steps:.2f}" for side in (pairs.first, pairs.second)),
        f"{pairs.time_ratio:.2f}",
    )
