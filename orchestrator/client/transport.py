"""One way to the API: JSON in and out, lists over pages, repeats where they are safe, streams as lines."""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestrator.client import sse
from orchestrator.client.errors import ApiError, ConnectionFailed, Unavailable, refusal
from orchestrator.client.patience import pause
from orchestrator.client.request import Request

if TYPE_CHECKING:
    from requests import Response

PAGE = 200


class Transport:
    """Calls with one key. Every method raises ClientError. `timeout`: seconds for one answer."""

    def __init__(self, url: str, key: str | None, *, timeout: float, retries: int) -> None:
        from orchestrator.client.exchange import Exchange  # a tenth of a second: only for those who call

        self.timeout = timeout
        self._retries = retries
        self._exchange = Exchange(url, key)

    def close(self) -> None:
        self._exchange.close()

    def get(self, path: str, **params: Any) -> Any:
        return self.send(Request(method="GET", path=path, params=_given(params)))

    def text(self, path: str, **params: Any) -> str:
        return self._repeated(Request(method="GET", path=path, params=_given(params))).text

    def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        source: bytes | None = None,
        idempotency_key: str | None = None,
        params: Mapping[str, Any] | None = None,
        hold: float = 0.0,
    ) -> Any:
        """A write always carries a key, so that the API does it once however often it is sent."""
        request = Request(
            method=method,
            path=path,
            params=_given(params or {}),
            body={} if body is None and source is None else body,
            source=source,
            idempotency_key=idempotency_key or str(uuid.uuid4()),
            hold=hold,
        )
        return self.send(request)

    def send(self, request: Request) -> Any:
        """The JSON of the answer; sent again a few times while the API is away."""
        return self._exchange.json(self._repeated(request))

    def send_once(self, request: Request, timeout: float) -> Any:
        return self._exchange.json(self._exchange.answer(request, timeout))

    def pages(self, path: str, limit: int | None, **params: Any) -> Iterator[Any]:
        """The first `limit` items of a list, all where it is None, over as many pages as that takes."""
        cursor = None
        left = float("inf") if limit is None else limit
        while left > 0:
            page = self.get(path, limit=int(min(left, PAGE)), cursor=cursor, **params)
            yield from page["items"]
            left -= len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    @contextmanager
    def stream(self, asked: Request, after: int | str | None, silence: float) -> Iterator[Iterator[str]]:
        """The lines of a stream from after an event; ConnectionFailed where it is cut or silent for `silence` s."""
        with self._exchange.stream(asked, after, silence) as chunks:
            yield sse.lines(chunks)

    def _repeated(self, request: Request) -> "Response":
        """The answer; no try begins later than `timeout` after the first."""
        began = time.monotonic()
        failures = 0
        while True:
            try:
                return self._exchange.answer(request, self.timeout + request.hold)
            except (ConnectionFailed, Unavailable) as error:
                failures += 1
                wait = pause(failures, error)
                if failures > self._retries or time.monotonic() + wait - began > self.timeout:
                    raise
                time.sleep(wait)


def segment(name: str) -> str:
    """A name or id as one segment of a URL's path. Raises NotFound for what would lead to another path."""
    if "/" in name:
        raise _nowhere(name)
    return step_path(name)


def step_path(path: str) -> str:
    """A step's path as one segment. Raises NotFound as `segment` does."""
    if path in ("", ".", ".."):
        raise _nowhere(path)
    return quote(path, safe="")


def label_pairs(labels: Mapping[str, str] | None) -> list[str] | None:
    """Labels as a query has them."""
    return [f"{key}:{value}" for key, value in (labels or {}).items()] or None


def _nowhere(name: str) -> ApiError:
    # servers read %2F as a slash, clients take dots away: neither is in a name, so nothing has this one
    return refusal(404, {"code": "NOT_FOUND", "detail": f"There is nothing of the name {name!r}"}, 0.0)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
