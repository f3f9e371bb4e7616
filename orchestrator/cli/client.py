"""The API from the command line's side: JSON in and out, problem documents as exceptions, streams as events.

Source: spec "http-api"; RFC 9457 for problems, the WHATWG standard for server-sent events.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from models.errors import InvalidError, OrchestratorError, Problem
from orchestrator.cli.sse import Message, messages
from orchestrator.settings import Settings, load

if TYPE_CHECKING:
    import requests

_TIMEOUT = (5.0, 60.0)
_STREAM_TIMEOUT = (5.0, 45.0)  # the server's heartbeat comes every 15 s
_PAGE = 200
_GIVE_UP_AFTER = 60.0
ENDS = frozenset({"run.completed", "run.failed", "run.aborted", "run.compensated"})


class UnreachableError(OrchestratorError):
    """The API does not answer."""

    code = "UNREACHABLE"


class ApiError(InvalidError):
    """The API refused: `status` of HTTP, `code` and `problems` of the problem document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        given = [
            Problem(
                pointer=entry.get("pointer", ""),
                code=entry.get("code", ""),
                message=entry.get("message", ""),
                line=entry.get("line"),
            )
            for entry in document.get("errors") or ()
        ]
        message = document.get("detail") or document.get("title") or f"the API answered {status}"
        super().__init__(message, given, document.get("code") or "HTTP")
        self.status = status


class Client:
    """Calls with one key. Every method raises ApiError and UnreachableError."""

    def __init__(self, url: str, key: str | None) -> None:
        import requests

        self.url = url.rstrip("/")
        self.key = key
        self._session = requests.Session()
        self._session.trust_env = False  # the API is ours: no proxy, no ~/.netrc between
        if key is not None:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def close(self) -> None:
        self._session.close()

    def get(self, path: str, **params: Any) -> Any:
        return self._json(self._call("GET", path, params=_given(params)))

    def send(self, method: str, path: str, body: Any = None, *, source: bytes | None = None) -> Any:
        """`body` goes as JSON; `source` as YAML, which JSON is too."""
        if source is not None:
            headers = {"Content-Type": "application/yaml"}
            return self._json(self._call(method, path, data=source, headers=headers))
        return self._json(self._call(method, path, json={} if body is None else body))

    def pages(self, path: str, limit: int, **params: Any) -> Iterator[dict[str, Any]]:
        """The first `limit` items of a list, over as many pages as that takes."""
        cursor = None
        while limit > 0:
            page = self.get(path, limit=min(limit, _PAGE), cursor=cursor, **params)
            yield from page["items"][:limit]
            limit -= len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def events(self, run_id: str) -> Iterator[dict[str, Any]]:
        """A run's events from its first to its end. A stream that is cut goes on after the last one seen."""
        last_id, ended, failed_at = None, False, time.monotonic()
        while not ended:
            try:
                for message in self._stream(f"/api/runs/{run_id}/stream", last_id):
                    last_id, failed_at = message.id or last_id, time.monotonic()
                    event = message.json()
                    if event["type"].startswith("run."):
                        ended = event["type"] in ENDS
                    yield event
            except UnreachableError:
                ended = False
                if time.monotonic() - failed_at > _GIVE_UP_AFTER:
                    raise
            if not ended:
                time.sleep(0.5)  # a server that restarts is back soon

    def _stream(self, path: str, last_id: str | None) -> Iterator[Message]:
        import requests

        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        with self._call("GET", path, headers=headers, stream=True, timeout=_STREAM_TIMEOUT) as response:
            response.encoding = "utf-8"
            lines: Iterable[str] = response.iter_lines(chunk_size=None, decode_unicode=True)
            try:
                yield from messages(lines)
            except requests.RequestException as error:
                raise UnreachableError(f"The stream from {self.url} was cut: {error}") from error

    def _call(self, method: str, path: str, **options: Any) -> "requests.Response":
        import requests

        try:
            response = self._session.request(method, self.url + path, **{"timeout": _TIMEOUT, **options})
        except requests.RequestException as error:
            raise UnreachableError(
                f"The API at {self.url} does not answer. Start it with `orchestrator up`, "
                f"or set ORCHESTRATOR_URL to where it is ({type(error).__name__})"
            ) from error
        if response.status_code == 503:
            detail = _problem(response)["detail"]
            raise UnreachableError(f"The API at {self.url} is not able to answer: {detail}")
        if response.status_code >= 400:
            raise ApiError(response.status_code, _problem(response))
        return response

    def _json(self, response: "requests.Response") -> Any:
        if response.status_code == 204:
            return None
        if "json" not in response.headers.get("Content-Type", ""):
            return response.text
        return response.json()


def connect(settings: Settings | None = None) -> Client:
    """A client by the settings; the key is ORCHESTRATOR_API_KEY, else that of `orchestrator up`."""
    settings = settings or load()
    key_file = settings.data_dir / "admin.key"
    if settings.api_key is not None:
        return Client(settings.url, settings.api_key)
    return Client(settings.url, key_file.read_text().strip() if key_file.exists() else None)


def segment(text: str) -> str:
    """A name as one segment of a path."""
    return quote(text, safe="")


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _problem(response: "requests.Response") -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    fallback = {"detail": f"{response.status_code} {response.reason}"}
    return {**fallback, **document} if isinstance(document, dict) else fallback
