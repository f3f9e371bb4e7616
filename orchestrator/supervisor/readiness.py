"""Whether the stack answers: asked of the API, which knows of broker, workers and beat."""

import http.client
import json
import time
from urllib.parse import urlsplit

from orchestrator.supervisor.place import Place

_EVERY = 0.2


class Readiness:
    """Call it until it is True; `missing` says what it waits for."""

    def __init__(self, url: str, place: Place, *, gateway: bool) -> None:
        self._address = urlsplit(url).netloc
        self._place = place
        self._gateway = gateway
        self._asked_at = 0.0
        self._answer = "the API does not answer"

    def __call__(self) -> bool:
        if time.monotonic() - self._asked_at < _EVERY:
            return False
        if self._gateway and not self._place.gateway.exists():
            self._answer = "the local gateway does not listen"
            return False
        self._answer = self._ask()
        self._asked_at = time.monotonic()
        return self._answer == ""

    def missing(self) -> str:
        return self._answer

    def _ask(self) -> str:
        connection = http.client.HTTPConnection(self._address, timeout=2)
        try:
            connection.request("GET", "/readyz")
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return "the API does not answer"
        finally:
            connection.close()
        if answer.get("status") == "ready":
            return ""
        missing = answer.get("missing")
        return f"{' and '.join(missing)} did not come up" if missing else f"the API answers {answer}"
