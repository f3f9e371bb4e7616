"""HTTP to the outside, guarded against requests to places that are not public (SSRF).

Source: spec "reliability" §4. One parser reads the URL; the name is resolved once; every address is checked;
the connection goes to a checked address with the name's Host and SNI; no redirect is followed, no proxy or
netrc of the environment is used; one deadline holds for all; the answer is cut at a limit; what can't be told
is refused.

requests-hardened was tried: it looks at the first address only, its allow list is "loopback or not", and it
has neither a total deadline nor a limit on the answer.
"""

import os
import re
import time
from collections.abc import Collection

import certifi
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.exceptions import TimeoutError as SlowError
from urllib3.util import Url, parse_url

from models.errors import ErrorCode
from orchestrator.core.outcome import Cancelled, Failed, StepError
from orchestrator.drivers.addresses import DeniedError, Guard
from orchestrator.drivers.dial import Dial, LateError, PlainPool, SecurePool, UnreachableError
from orchestrator.drivers.watch import Watch
from orchestrator.ports import HttpRequest, HttpResponse

_UNCLEAN = re.compile(r"[\x00-\x20\x7f\\]")
_CHUNK = 16 << 10


class GuardedOutbound:
    """Implements orchestrator.ports.Outbound, for any number of threads. `allow`: entries of HTTP_ALLOW."""

    def __init__(self, allow: Collection[str] = ()) -> None:
        self._guard = Guard(allow)
        self._watch = Watch()
        self._authorities = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")

    def send(self, request: HttpRequest) -> HttpResponse | Failed | Cancelled:
        """One request, one answer or the reason why not; see ports.Outbound."""
        dial = Dial(self._guard, request.deadline)
        try:
            url = _parse(request.url)
            with self._watch.over(request.cancelled, request.deadline, dial.cut):
                answer = self._exchange(request, url, dial)
            dial.remaining()  # a connection that was cut looks like an answer's end
            return answer
        except (HTTPError, OSError, ValueError, DeniedError, UnreachableError, LateError) as error:
            return _failure(request, error, dial)
        finally:
            dial.hang_up()

    def refusal(self, url: str, seconds: float) -> str | None:
        """Why a URL is not sent to; see ports.Outbound."""
        dial = Dial(self._guard, time.monotonic() + seconds)
        try:
            parsed = _parse(url)
            host = (parsed.host or "").strip("[]")
            dial.check(host, parsed.port or (80 if parsed.scheme == "http" else 443))
        except LateError:
            return f"the name {host} did not resolve within {seconds:g} s"
        except (ValueError, DeniedError, UnreachableError) as error:
            return str(error)
        return None

    def close(self) -> None:
        """Nothing is kept between requests."""

    def _exchange(self, request: HttpRequest, url: Url, dial: Dial) -> HttpResponse:
        with self._pool(url, dial) as pool:
            response = pool.urlopen(
                request.method,
                url.request_uri,
                body=request.body,
                headers={"Accept-Encoding": "identity", "Connection": "close"} | dict(request.headers),
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=Timeout(total=dial.remaining()),
            )
            try:
                return _read(response, request.max_bytes)
            finally:
                response.close()

    def _pool(self, url: Url, dial: Dial) -> PlainPool | SecurePool:
        host = (url.host or "").strip("[]")
        if url.scheme == "http":
            return PlainPool(host, url.port or 80, dial=dial)
        return SecurePool(
            host,
            url.port or 443,
            dial=dial,
            cert_reqs="CERT_REQUIRED",
            ca_certs=self._authorities or certifi.where(),
        )


def _parse(text: str) -> Url:
    if _UNCLEAN.search(text):
        raise ValueError("a URL holds no blanks, control characters or backslashes: percent-encode them")
    try:
        url = parse_url(text)
    except LocationParseError as error:
        raise ValueError(f"{text!r} is no URL") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{text!r} must begin with http:// or https:// and name a host")
    if url.auth is not None:
        raise ValueError("a URL holds no user or password here: send them in a header")
    return url


def _read(response: BaseHTTPResponse, most: int) -> HttpResponse:
    body = bytearray()
    while len(body) <= most:
        chunk = response.read(min(_CHUNK, most + 1 - len(body)), decode_content=True)
        if not chunk:
            break
        body += chunk
    return HttpResponse(
        status=response.status,
        headers={name.lower(): value for name, value in response.headers.items()},
        body=bytes(body[:most]),
        cut=len(body) > most,
    )


def _failure(request: HttpRequest, error: Exception, dial: Dial) -> Failed | Cancelled:
    if request.cancelled.is_set():
        return Cancelled()
    shown = f"{request.method} {request.url.partition('?')[0]}"
    late = isinstance(error, LateError | SlowError | TimeoutError) or dial.was_cut
    if late and not isinstance(error, DeniedError):
        return _failed(ErrorCode.TIMEOUT, f"{shown} got no answer in time", dial)
    if isinstance(error, DeniedError):
        return _failed(ErrorCode.POLICY_DENIED, str(error))
    if isinstance(error, UnreachableError | HTTPError | OSError):
        return _failed(ErrorCode.NETWORK, f"{shown} failed: {error}", dial)
    return _failed(ErrorCode.VALIDATION, f"the request can't be sent: {error}")


def _failed(code: ErrorCode, message: str, dial: Dial | None = None) -> Failed:
    unreached = dial is not None and not dial.connected
    return Failed(error=StepError.of(code, message, details={"reached": False} if unreached else None))
