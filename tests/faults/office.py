"""Who the runs wait for: people vote, send what was signed, let paused runs go on; agents say that they are there."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from orchestrator.client import Client, ClientError, Conflict
from tests.faults.insistence import Insistence
from tests.faults.workflows.agents import REGISTERED
from tests.faults.workflows.people import SIGNAL
from tests.faults.workload import Job

EVERY = 0.5  # seconds
HEARTBEAT = 15.0
BUDGET = 1_000


@dataclass(slots=True, kw_only=True)
class Office:
    """`voters` have keys of their own: who has two votes on an approval has cast one of them twice."""

    voters: tuple[Client, Client]
    insistence: Insistence
    _letters: "queue.SimpleQueue[tuple[Job, str]]" = field(default_factory=queue.SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _voted: set[tuple[str, int]] = field(default_factory=set)

    def begin(self) -> None:
        for act, seconds in (
            (self._post, EVERY),
            (self._vote_all, EVERY),
            (self._resume_all, EVERY),
            (self._beat_all, HEARTBEAT),
        ):
            self._threads.append(threading.Thread(target=self._repeat, args=(act, seconds), daemon=True))
            self._threads[-1].start()

    def close(self) -> None:
        """Go home, once `insistence` has ended."""
        for thread in self._threads:
            thread.join()
        for voter in self.voters:
            voter.close()

    def told(self, job: Job, run_id: str) -> None:
        """A run was accepted."""
        if "envelope" in job.inputs:
            self._letters.put((job, run_id))

    def _repeat(self, act: Callable[[], None], seconds: float) -> None:
        while not self.insistence.ended.wait(seconds):
            try:
                act()
            except ClientError:
                continue  # the next round comes

    def _post(self) -> None:
        """By the run's id, or by the key that the run waits for; before it waits, or after."""
        while not self._letters.empty():
            self.insistence.on(partial(self._send, *self._letters.get()))

    def _send(self, job: Job, run_id: str) -> None:
        client, envelope = self.voters[0], job.inputs["envelope"]
        data, number = {"by": envelope}, f"{envelope}-1"
        if job.number % 2:
            client.runs.signal(run_id, SIGNAL, data, id=number)
        else:
            client.signals.send(SIGNAL, envelope, data, id=number, idempotency_key=number)

    def _vote_all(self) -> None:
        for asked in self.voters[0].approvals.list():
            for place, voter in enumerate(self.voters):
                if (asked["id"], place) not in self._voted:
                    self._vote(voter, place, asked["id"], asked["title"])

    def _vote(self, voter: Client, place: int, approval: str, title: str) -> None:
        key = f"vote-{approval}-{place}"
        try:
            if title == "reject":
                voter.approvals.reject(approval, idempotency_key=key)
            else:
                voter.approvals.approve(approval, {"cents": 7}, idempotency_key=key)
        except Conflict:
            pass  # the other vote has decided it, or its step waits no more
        self._voted.add((approval, place))

    def _beat_all(self) -> None:
        for name, _, _ in REGISTERED:
            self.voters[0].agents.heartbeat(name)

    def _resume_all(self) -> None:
        for run in self.voters[0].runs.list(status="paused"):
            try:
                self._resume(run["id"], run["workflow"])
            except Conflict:
                continue  # it goes on already, or the run that called it has to go on first

    def _resume(self, run_id: str, workflow: str) -> None:
        if workflow == "people":
            self.voters[0].runs.resume(run_id, input={"go": True})
        else:
            self.voters[0].runs.resume(run_id, limit_cents=BUDGET)
