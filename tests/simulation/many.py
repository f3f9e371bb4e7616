"""Many seeds, over processes."""

import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import structlog

CHUNK = 100
Failed = list[tuple[int, list[str]]]
QUIET = structlog.make_filtering_bound_logger(logging.CRITICAL)


def run(first: int, count: int, processes: int) -> int:
    """Judge seeds; print those that fail, and how to replay them. The number of failed ones."""
    began, failed, done = time.monotonic(), 0, 0
    chunks = [range(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=prepare) as pool:
        for found in pool.map(judge, chunks):
            done += 1
            failed += len(found)
            if found:
                print(told(found), flush=True)
            if done % 50 == 0:
                print(f"{done * CHUNK:,} seeds, {failed} failed", flush=True)
    print(f"{count:,} seeds in {time.monotonic() - began:.0f} s, {failed} failed")
    return failed


def judge(seeds: range) -> Failed:
    """The seeds that fail, with what is wrong."""
    from tests.simulation import verdict
    from tests.simulation.ground import ground

    return [(seed, wrong) for seed in seeds if (wrong := verdict.judge(ground(), seed))]


def told(failed: Failed) -> str:
    return "\n".join(f"seed {seed}: {'; '.join(wrong)}" for seed, wrong in failed)


def prepare() -> None:
    """The plug-in with the steps of tests; nothing in the log but what is worse than a fault."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "plugin"))
    structlog.configure(wrapper_class=QUIET)
