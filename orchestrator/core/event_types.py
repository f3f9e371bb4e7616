"""Types of events and the patterns that pick them: `step.completed`, `run.*`, `*`."""

import re
from collections.abc import Collection

_NAME = r"[a-z][a-z0-9_-]*"
_TYPE = re.compile(rf"{_NAME}(\.{_NAME})+", re.ASCII)
_PATTERN = re.compile(rf"\*|{_NAME}(\.{_NAME})*\.\*|{_NAME}(\.{_NAME})+", re.ASCII)
LONGEST = 64
OURS = (
    "run",
    "step",
    "stream",
    "approval",
    "signal",
    "variable",
    "override",
    "checkpoint",
    "container",
    "branch",
    "agent",
    "gateway",
    "webhook",
    "schedule",
)  # what these begin is the engine's to tell


def is_pattern(text: str) -> bool:
    """Whether a text picks types of events."""
    return len(text) <= LONGEST and _PATTERN.fullmatch(text) is not None


def is_own(text: str) -> bool:
    """Whether a text can name an event of a workflow's own: `deal.signed`."""
    return len(text) <= LONGEST and _TYPE.fullmatch(text) is not None and text.split(".")[0] not in OURS


def own_problem(text: str) -> str | None:
    """Why a text is no name of a workflow's own event; None where it is one."""
    if len(text) > LONGEST or not _TYPE.fullmatch(text):
        return (
            f"{text!r:.100} is no name of an event; write words of a-z, 0-9, _ and - with dots between them, "
            f"such as deal.signed, at most {LONGEST} characters"
        )
    if is_own(text):
        return None
    first = text.partition(".")[0]
    return f"{text!r} looks like an event of the engine itself; begin with another word than {first!r}"


def matches(patterns: Collection[str], type_: str) -> bool:
    """Whether one of the patterns picks the type."""
    return any(
        pattern in ("*", type_) or (pattern.endswith(".*") and type_.startswith(pattern[:-1]))
        for pattern in patterns
    )
