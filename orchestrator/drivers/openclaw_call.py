"""A request that was sent, and the answers to it: waited for by a thread, or parked until the last one comes."""

import queue
import threading
import time
from collections.abc import Callable

from orchestrator.drivers.openclaw_frames import ConnectionLostError, GivenUpError, Response

Then = Callable[[Response | None], None]


class Call:
    """One request. `put`, `lose` and `give_up` are for the connection, the rest for who asked."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self._answers: queue.SimpleQueue[Response | type[Exception]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._then: Then | None = None
        self._until: float | None = None
        self.parked = False

    def next(self, deadline: float | None) -> Response:
        """The next answer. Raises TimeoutError at the deadline, ConnectionLostError, GivenUpError."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            answer = self._answers.get(timeout=left)
        except queue.Empty:
            raise TimeoutError("the gateway did not answer in time") from None
        if isinstance(answer, Response):
            return answer
        raise answer("the connection to the gateway ended" if answer is ConnectionLostError else "given up")

    def park(self, then: Then, until: float | None) -> bool:
        """Have `then` called once, with the last answer, or with None when the socket is lost; no thread waits.

        It is called by the thread that reads the socket, so it must not block. False: an answer is there already,
        for `next`. until: of time.monotonic(); later nobody is interested any more.
        """
        with self._lock:
            if not self._answers.empty():
                return False
            self._then, self._until, self.parked = then, until, True
            return True

    def put(self, answer: Response) -> bool:
        """Hand over an answer; True when the parked call has ended with it."""
        with self._lock:
            if not self.parked:
                self._answers.put(answer)
                return False
        return answer.status != "accepted" and self._end(answer)

    def lose(self) -> None:
        """No further answer comes."""
        with self._lock:
            if not self.parked:
                self._answers.put(ConnectionLostError)
                return
        self._end(None)

    def give_up(self) -> None:
        """Wake the thread that waits; a parked call has none."""
        self._answers.put(GivenUpError)

    def is_over(self, now: float) -> bool:
        """Whether nobody is interested any more."""
        return self.parked and self._until is not None and now > self._until

    def _end(self, answer: Response | None) -> bool:
        with self._lock:
            then, self._then = self._then, None
        if then is not None:
            then(answer)
        return True
