"""How a document is refused that can't even be read as plain data."""

from models.errors import InvalidError, Problem


def malformed(message: str, line: int | None = None) -> InvalidError:
    """The text is no YAML or JSON."""
    return _whole("MALFORMED", message, "", line)


def too_large(message: str, line: int | None = None) -> InvalidError:
    """The document, or what its aliases unfold to, is too big."""
    return _whole("TOO_LARGE", message, "", line)


def too_deep(limit: int, pointer: str = "", line: int | None = None) -> InvalidError:
    """The document nests deeper than `limit` levels."""
    return _whole("TOO_DEEP", f"it is nested more than {limit} levels deep; make it flatter", pointer, line)


def duplicate(pointer: str, key: str, line: int | None = None) -> Problem:
    """The same key twice in one object: one of the two values would be lost."""
    message = f'the key "{key}" is there twice; keep one'
    return Problem(pointer=pointer, code="INVALID_VALUE", message=message, line=line)


def _whole(code: str, message: str, pointer: str, line: int | None) -> InvalidError:
    return InvalidError(message, [Problem(pointer=pointer, code=code, message=message, line=line)], code=code)
