"""Pages of lists: an opaque cursor that belongs to its filter.

Source: spec "http-api": lists answer `{items, next_cursor}`; a cursor of another filter is refused.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidError, Problem

LIMIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What the caller asked for: at most `limit` items (1 to 200) after `cursor`."""

    limit: int = LIMIT
    cursor: str | None = None

    def after(self, scope: Any) -> str | None:
        """The last item's place of the page before. `scope` is the list and its filter, as JSON.

        Raises InvalidError when the cursor is malformed or of another scope.
        """
        if self.cursor is None:
            return None
        try:
            digest, place = json.loads(base64.urlsafe_b64decode(self.cursor.encode("ascii")))
        except (ValueError, TypeError) as error:
            raise _refused("is no cursor that a list gave") from error
        if digest != _digest(scope) or not isinstance(place, str):
            raise _refused("belongs to another list or filter")
        return place


def page(
    rows: Sequence[Any],
    request: PageRequest,
    scope: Any,
    *,
    place: Callable[[Any], str],
    show: Callable[[Any], dict[str, Any]],
) -> dict[str, Any]:
    """`{items, next_cursor}`. `rows` are up to `limit + 1`: the one too many says that more is left."""
    shown = rows[: request.limit]
    more = len(rows) > request.limit
    return {
        "items": [show(row) for row in shown],
        "next_cursor": cursor(scope, place(shown[-1])) if more else None,
    }


def cursor(scope: Any, place: str) -> str:
    """The cursor after `place` in a scope."""
    text = json.dumps([_digest(scope), place], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def _digest(scope: Any) -> str:
    return hashlib.sha256(json.dumps(scope, sort_keys=True).encode()).hexdigest()[:16]


def _refused(why: str) -> InvalidError:
    message = f"cursor {why}; leave it out to begin at the first page"
    return InvalidError(message, [Problem(pointer="/cursor", code="INVALID_VALUE", message=message)])
