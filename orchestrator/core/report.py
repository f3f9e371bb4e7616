"""Problems of a document, collected so that all are told at once. Source: spec "definition", the list of codes."""

import difflib
from collections.abc import Collection, Iterable
from enum import StrEnum

from models.errors import InvalidError, Problem
from orchestrator.core.document import Document
from orchestrator.core.pointer import line_of


class Code(StrEnum):
    """The stable codes of what can be wrong in a definition."""

    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    MISSING_FIELD = "MISSING_FIELD"
    INVALID_TYPE = "INVALID_TYPE"
    INVALID_VALUE = "INVALID_VALUE"
    INVALID_NAME = "INVALID_NAME"
    INVALID_DURATION = "INVALID_DURATION"
    INVALID_EXPRESSION = "INVALID_EXPRESSION"
    INVALID_SCHEMA = "INVALID_SCHEMA"
    INVALID_CRON = "INVALID_CRON"
    DUPLICATE_ID = "DUPLICATE_ID"
    DANGLING_EDGE = "DANGLING_EDGE"
    CYCLE = "CYCLE"
    UNREACHABLE = "UNREACHABLE"
    UNRESOLVED_REFERENCE = "UNRESOLVED_REFERENCE"
    UNSUPPORTED_NODE_TYPE = "UNSUPPORTED_NODE_TYPE"
    LONG_WITHOUT_COMPENSATION = "LONG_WITHOUT_COMPENSATION"
    TOO_LARGE = "TOO_LARGE"
    TOO_DEEP = "TOO_DEEP"


MAX_PROBLEMS = 1_000
# A comparison of two names takes some 20 µs: a document of 10,000 unknown names may not cost minutes.
_COMPARISONS = 10_000
_SHOWN = 60


class Report:
    """Collects problems of one document, at most MAX_PROBLEMS of them."""

    def __init__(self, document: Document | None = None) -> None:
        self._lines = document.lines if document is not None else {}
        self._problems: list[Problem] = []
        self._left = _COMPARISONS

    def add(self, pointer: str, code: Code, message: str) -> None:
        """Report one mistake; the message says what is wrong and how to mend it."""
        if len(self._problems) > MAX_PROBLEMS:
            return
        if len(self._problems) == MAX_PROBLEMS:
            pointer, code = "", Code.TOO_LARGE
            message = f"there are more than {MAX_PROBLEMS} problems; mend these first"
        line = line_of(self._lines, pointer)
        self._problems.append(Problem(pointer=pointer, code=code.value, message=message, line=line))

    def closest(self, word: str, candidates: Collection[str]) -> str | None:
        """The candidate that `word` was probably meant to be."""
        self._left -= len(candidates)
        if self._left < 0 or len(word) > 100:
            return None
        return next(iter(difflib.get_close_matches(word, candidates, n=1, cutoff=0.7)), None)

    def hint(self, word: str, candidates: Collection[str]) -> str:
        """`; did you mean "x"?`, or nothing when no candidate is near."""
        found = self.closest(word, candidates)
        return f'; did you mean "{found}"?' if found is not None else ""

    @property
    def count(self) -> int:
        """How many problems there are so far."""
        return len(self._problems)

    def close(self, what: str) -> None:
        """Raise InvalidError with all problems when there are any; `what` names the thing refused."""
        if not self._problems:
            return
        number = len(self._problems)
        noun = "problem" if number == 1 else "problems"
        raise InvalidError(f"the {what} has {number} {noun}; see errors", self._problems)


def shown(value: object) -> str:
    """A value as a message quotes it, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def listed(names: Iterable[object], limit: int = 20) -> str:
    """Names for a message, in the order given: `a, b, c and 7 more`."""
    found = [str(name) for name in names]
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(found[:limit]) + more
