"""How values look to callers."""

from datetime import UTC, datetime


def moment(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with `Z`, to the microsecond."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
