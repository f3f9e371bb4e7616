"""Starts the runs over HTTP at their times, whatever happens meanwhile."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestrator.client import Client, ClientError
from tests.faults.insistence import Insistence
from tests.faults.workload import Job

THREADS = 6
LABEL = "job"
Accepted = Callable[[Job, str], None]


@dataclass(slots=True, kw_only=True)
class Load:
    """`accepted`: the run of each job that the API has taken (202)."""

    jobs: Sequence[Job]
    client: Client
    insistence: Insistence
    tell: Accepted
    accepted: dict[int, str] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        began = time.monotonic()
        for place in range(THREADS):
            mine = self.jobs[place::THREADS]
            thread = threading.Thread(target=self._start, args=(mine, began), name=f"load-{place}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def join(self, limit: float) -> None:
        """Wait until all are accepted, `limit` seconds at most."""
        until = time.monotonic() + limit
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Once `insistence` has ended."""
        for thread in self._threads:
            thread.join()
        self.client.close()

    def _start(self, jobs: Sequence[Job], began: float) -> None:
        for job in jobs:
            time.sleep(max(0.0, began + job.at - time.monotonic()))  # the load's own pace
            try:
                run = self.insistence.on(partial(self._trigger, job))
            except ClientError:
                return  # it is over; the verdict finds that the job was never accepted
            self.accepted[job.number] = run
            self.tell(job, run)

    def _trigger(self, job: Job) -> str:
        labels = {LABEL: str(job.number)}
        run = self.client.runs.start(
            job.workflow, job.inputs, labels=labels, idempotency_key=f"load-{job.number}"
        )
        return run["id"]
