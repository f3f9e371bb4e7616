"""Text to value for each kind of setting. Each parser raises ValueError that says what would be allowed."""

import ipaddress
import re
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from models.errors import SettingsError

BUSES_GROUP = "orchestrator.buses"  # of entry points, named by the schemes of their URLs
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_HOST = re.compile(r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?")


def number(low: float, high: float = 1e12) -> Callable[[str], float]:
    """A decimal number from `low` to `high`."""

    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text) or not low <= float(text) <= high:
            raise ValueError(f"write a number from {low:g} to {high:g}")
        return float(text)

    return parse


def integer(low: int, high: int = 1 << 40) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return int(text)

    return parse


def boolean(text: str) -> bool:
    """on or off, in the usual spellings."""
    known = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False}
    known["no"] = False
    if text.lower() not in known:
        raise ValueError("write on or off")
    return known[text.lower()]


def choice(*choices: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError("write one of " + ", ".join(choices))
        return text.lower()

    return parse


def text_(text: str) -> str:
    """Any text."""
    return text


def secret(text: str) -> str:
    """A key that cannot be guessed, by its length."""
    if len(text) < 16:
        raise ValueError("write 16 characters at least")
    return text


def directory(text: str) -> Path:
    """A path; `~` is the home directory."""
    return Path(text).expanduser()


def server(*schemes: str) -> Callable[[str], str]:
    """The URL of a broker or result backend; several, to fall back on, are parted by semicolons."""

    def parse(text: str) -> str:
        for url in text.split(";"):
            _split(url, schemes)
        return text

    return parse


def bus(*schemes: str) -> Callable[[str], str]:
    """The URL of an event bus, of one that a plug-in has a driver for too; or off."""

    def parse(text: str) -> str:
        if text.lower() == "off":
            return "off"
        own = sorted({point.name for point in entry_points(group=BUSES_GROUP)})
        try:
            _split(text, (*schemes, *own))
        except ValueError as error:
            raise ValueError(f"write off, or {str(error).removeprefix('write ')}") from error
        return text

    return parse


def web(text: str) -> str:
    """The URL of an HTTP service, without a slash at its end: paths are added to it."""
    _split(text, ("http", "https"))
    if not urlsplit(text).hostname:
        raise ValueError("write a URL with a host, http://127.0.0.1:8080 say")
    return text.rstrip("/")


def database(text: str) -> str:
    """A SQLAlchemy URL of PostgreSQL or of a SQLite file."""
    from models.database import parse_url  # a third of a second: only for those who set it

    try:
        url = parse_url(text)
    except SettingsError as error:
        raise ValueError(str(error)) from error
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("every process would see a database of its own; write sqlite:////absolute/path.db")
    return text


def names(text: str) -> tuple[str, ...]:
    """A comma list of names of environment variables."""
    found = _parts(text)
    for name in found:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name of an environment variable; write a comma list of names")
        if name.startswith("ORCHESTRATOR_"):
            raise ValueError(f"{name!r} holds a setting of ours, which no workflow may read; leave it out")
    return found


def allow(text: str) -> tuple[str, ...]:
    """A comma list of host, host:port, address or network."""
    entries = _parts(text.lower())
    for entry in entries:
        if not (_is_network(entry) or _is_host(entry)):
            raise ValueError(
                f"{entry!r} is no host, host:port or network; write 10.0.0.0/8, [::1]:8080 or crm.internal:443 say"
            )
    return entries


def instant(text: str) -> float:
    """Seconds since 1970, or an RFC 3339 time such as 2026-01-31T08:00:00Z."""
    try:
        if _NUMBER.fullmatch(text):
            return number(0)(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and moment.timestamp() >= 0:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass  # refused below, in one sentence for all
    raise ValueError("write seconds since 1970, or an RFC 3339 time with its offset: 2026-01-31T08:00:00Z")


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _split(text: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(text)
        known = parts.scheme in schemes and "://" in text and (parts.port or 1) > 0
    except ValueError:
        known = False  # a port or an IPv6 address that is none
    if not known:
        raise ValueError("write a URL that begins with " + ", ".join(f"{scheme}://" for scheme in schemes))


def _is_network(entry: str) -> bool:
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
    return True


def _is_host(entry: str) -> bool:
    found = _HOST.fullmatch(entry)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        return False
    return not found["host"].startswith("[") or _is_network(found["host"][1:-1])
