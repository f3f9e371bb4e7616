"""What can go wrong with a call, as one tree, drawn from the API's problem documents (RFC 9457).

ClientError
├── ConnectionFailed        no answer: nobody listens, or the connection was cut
│   └── TimedOut            no answer in time
├── ApiError                the API refused: status, code, detail, errors
│   ├── Invalid             400, 413, 422
│   ├── Unauthorized        401
│   ├── Forbidden           403
│   ├── NotFound            404
│   ├── Conflict            409
│   ├── RateLimited         429, retry_after
│   └── ServerError         5xx
│       └── Unavailable     502, 503, 504, retry_after
├── UnexpectedAnswer        something else than the API stands at the address
├── RunFailed               wait(check=True): the run ended, not in success
└── WaitTimedOut            wait(timeout=…): the run has not ended
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.client.answers import Run
from orchestrator.client.workflow_answers import ProblemItem


class ClientError(Exception):
    """Root of what a call of the client raises."""


class ConnectionFailed(ClientError):
    """No answer came. What was asked may have been done all the same; the same idempotency key makes a repeat safe."""


class TimedOut(ConnectionFailed):
    """No answer came in time."""


class UnexpectedAnswer(ClientError):
    """What answered is not the API: a redirect, or a page where JSON should be."""


class ApiError(ClientError):
    """The API refused. `status` of HTTP; `code` is stable; `detail` says how to mend it; `errors`: every mistake.

    `document` is the answer as it came.
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(status, document)
        self.status = status
        self.document = document
        self.code: str = document.get("code") or "HTTP"
        self.detail: str = document.get("detail") or document.get("title") or f"the API answered {status}"
        self.errors: tuple[ProblemItem, ...] = tuple(document.get("errors") or ())

    def __str__(self) -> str:
        return "\n".join([self.detail, *map(_line, self.errors)])


class Invalid(ApiError):
    """What was sent is refused whole; nothing was stored."""


class Unauthorized(ApiError):
    """No key, or one that is unknown or revoked."""


class Forbidden(ApiError):
    """The key lacks the scope."""


class NotFound(ApiError):
    """No such thing, or not in the key's workspace."""


class Conflict(ApiError):
    """The thing is in a state in which this makes no sense, or the name is taken."""


class RateLimited(ApiError):
    """Too many calls; `retry_after` seconds until the next is taken."""

    def __init__(self, status: int, document: Mapping[str, Any], retry_after: float) -> None:
        super().__init__(status, document)
        self.args = (status, document, retry_after)  # what a pickled error is made of again
        self.retry_after = retry_after


class ServerError(ApiError):
    """The API broke; its log has the reference that stands in `detail`."""


class Unavailable(ServerError):
    """The API, or what it needs, is away for now; `retry_after` seconds until another try is worth it."""

    def __init__(self, status: int, document: Mapping[str, Any], retry_after: float) -> None:
        super().__init__(status, document)
        self.args = (status, document, retry_after)
        self.retry_after = retry_after


class RunFailed(ClientError):
    """A run ended, not in success; `run` is the whole run."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.run = run

    def __str__(self) -> str:
        error = self.run["error"]
        where = f" at step {error['step']}" if error and error["step"] else ""
        why = f"{where}: {error['code']}: {error['message']}" if error else ""
        return f"Run {self.run['id']} of {self.run['workflow']} ended {self.run['status']}{why}"


class WaitTimedOut(ClientError):
    """A run has not ended in the time given; it goes on. `run` is as it stood."""

    def __init__(self, run: Run, seconds: float) -> None:
        super().__init__(run, seconds)
        self.run = run

    def __str__(self) -> str:
        return f"Run {self.run['id']} of {self.run['workflow']} is {self.run['status']} after {self.args[1]:g} s"


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    422: Invalid,
}
_AWAY = frozenset({502, 503, 504})


def refusal(status: int, document: Mapping[str, Any], retry_after: float) -> ApiError:
    """The error of an answer of 400 or more; `retry_after` in seconds."""
    if status == 429:
        return RateLimited(status, document, retry_after)
    if status in _AWAY:
        return Unavailable(status, document, retry_after)
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return kind(status, document)


def _line(problem: ProblemItem) -> str:
    place = f"line {problem['line']}, " if problem.get("line") else ""
    return f"  {place}{problem.get('pointer') or '/'}: {problem.get('code')}: {problem.get('message')}"
