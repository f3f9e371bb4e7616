"""How many clients may stream at once: each costs a thread, and the API must stay able to answer."""

import threading

from models.errors import UnavailableError


class Places:
    """`number` places for clients that stream."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many clients stream now."""
        return self._taken

    def take(self) -> "Place":
        """A place. Raises UnavailableError when all are taken."""
        with self._lock:
            if self._taken >= self._number:
                raise UnavailableError(
                    f"{self._number} clients stream already; try again soon, "
                    "or poll GET /api/runs/{id}/events",
                    retry_after=5,
                )
            self._taken += 1
        return Place(self)

    def give_back(self) -> None:
        with self._lock:
            self._taken -= 1


class Place:
    """One client's place; `leave` gives it back, once however often it is called."""

    def __init__(self, places: Places) -> None:
        self._places: Places | None = places

    def leave(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.give_back()
