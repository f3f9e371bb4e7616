"""One request and its answer over HTTP, refusals as exceptions. The only module that knows the HTTP library."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
import urllib3

from orchestrator.client.errors import ClientError, ConnectionFailed, TimedOut, UnexpectedAnswer, refusal
from orchestrator.client.request import Request

_CONNECT = 5.0
_CHUNK = 1 << 16


class Exchange:
    """Requests with one key over kept connections. Every method raises ClientError."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # the API is ours: no proxy, no ~/.netrc between
        if key is not None:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def close(self) -> None:
        self._session.close()

    def answer(
        self,
        request: Request,
        timeout: float,
        *,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """The answer of a request that was granted; `timeout`: seconds that the API may be silent."""
        try:
            response = self._session.request(
                request.method,
                self._url + request.path,
                params=request.params,
                data=request.content(),
                headers={**request.headers(), **(headers or {})},
                timeout=(min(_CONNECT, timeout), timeout),
                stream=stream,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self._away(error) from error
        if response.status_code >= 400:
            with response:
                raise refusal(response.status_code, _problem(response), _retry_after(response))
        if response.status_code >= 300:
            with response:
                raise self._unexpected(response)
        return response

    @contextmanager
    def stream(
        self, request: Request, after: int | str | None, silence: float
    ) -> Iterator[Iterator[bytes]]:
        """The bytes of an event stream as they come, from after event `after`; `silence`: seconds it may have."""
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        with self.answer(request, silence, headers=headers, stream=True) as response:
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise self._unexpected(response)
            yield self._chunks(response)

    def json(self, response: requests.Response) -> Any:
        """The JSON of an answer, None where it has no content."""
        if response.status_code == 204:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise self._unexpected(response) from error

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        try:
            # read1 hands over what has come; requests' own iterators wait for more where nothing says how much
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ConnectionFailed(f"The stream from {self._url} was cut: {error}") from error

    def _away(self, error: requests.RequestException) -> ConnectionFailed:
        kind = TimedOut if isinstance(error, requests.Timeout) else ConnectionFailed
        return kind(
            f"The API at {self._url} does not answer. Start it with `orchestrator up`, "
            f"or set ORCHESTRATOR_URL to where it is ({type(error).__name__})"
        )

    def _unexpected(self, response: requests.Response) -> ClientError:
        to = response.headers.get("Location")
        what = f"{response.status_code} to {to}" if to else response.headers.get("Content-Type", "nothing")
        return UnexpectedAnswer(
            f"{self._url} answered {what}, which the API does not; set ORCHESTRATOR_URL to the API"
        )


def _problem(response: requests.Response) -> dict[str, Any]:
    fallback = {"detail": f"{response.status_code} {response.reason}"}
    try:
        document = response.json()
    except (ValueError, requests.RequestException):
        return fallback  # a proxy's page
    return {**fallback, **document} if isinstance(document, dict) else fallback


def _retry_after(response: requests.Response) -> float:
    """Seconds; 1 where the answer does not say, or says a date."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 1.0
