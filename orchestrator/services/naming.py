"""One rule for the names of agents, gateways and schedules."""

import re

from models.errors import InvalidError, Problem

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def checked(name: str) -> str:
    """A name as it is kept: in lower case, as OpenClaw keeps the ids of its agents. Raises InvalidError."""
    kept = name.lower()
    if not _NAME.fullmatch(kept) or _ID.fullmatch(kept):
        message = "A name has 1 to 255 letters, digits, ., _ and -, begins with a letter or digit, and is no id"
        raise InvalidError(message, [Problem(pointer="/name", code="INVALID_NAME", message=message)])
    return kept
