"""Values as plain data, and what stands in them for the output of a node. Source: spec "definition", Values."""

from collections.abc import Mapping
from typing import Any

from models.errors import InvalidError
from orchestrator.core import refusals

# Deeper than any definition may nest, and far from where Python ends a recursion.
_DEEPEST = 128


class Reference:
    """`{{node.path}}`, in f-strings too; `research["output"]["score"]` is `{{research.output.score}}`."""

    __iter__ = None  # [] takes any key: by the old protocol of sequences it would be an endless one

    def __init__(self, path: str, *, optional: bool = False) -> None:
        self._path = path
        self._optional = optional

    def __getitem__(self, key: str | int) -> "Reference":
        """A field or, by a number from 0, an item. Raises InvalidError for a key that no path can hold."""
        return Reference(self._path + _step(key), optional=self._optional)

    @property
    def optional(self) -> "Reference":
        """`{{path?}}`: null where there is nothing."""
        return Reference(self._path, optional=True)

    def __str__(self) -> str:
        return f"{{{{{self._path}{'?' if self._optional else ''}}}}}"

    def __repr__(self) -> str:
        return f"<Reference {self}>"


def plain(value: Any, depth: int = 0) -> Any:
    """A copy of a value in the types of JSON, references as text; what is of no such type stays as it is.

    Raises InvalidError of code TOO_DEEP, as for a list that holds itself.
    """
    if depth > _DEEPEST:
        raise refusals.too_deep(_DEEPEST)
    if isinstance(value, Mapping):
        return {plain(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    """Members of enumerations and the numbers of other libraries become the plain values that they are."""
    match value:
        case Reference():
            return str(value)
        case str():
            return str.__str__(value)
        case int() if not isinstance(value, bool):
            return int(value)
        case float():
            return float(value)
    return value


def _step(key: str | int) -> str:
    if isinstance(key, int):
        if not 0 <= key < 10**9:
            raise InvalidError(f"the index {key} is none; write a number from 0")
        return f"[{key}]"
    if key.isascii() and key.isidentifier():
        return f".{key}"
    for quote in ('"', "'"):
        if quote not in key and "\\" not in key and "\n" not in key:
            return f"[{quote}{key}{quote}]"
    raise InvalidError(f"the key {key!r} fits into no path; read it with a transform")
