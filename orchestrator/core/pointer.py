"""JSON pointers (RFC 6901) into a document, and the source line that each stands on."""

from collections.abc import Mapping


def child(pointer: str, key: object) -> str:
    """The pointer of a field or item of what `pointer` names."""
    text = str(key)
    if "~" in text or "/" in text:
        text = text.replace("~", "~0").replace("/", "~1")
    return f"{pointer}/{text}"


def line_of(lines: Mapping[str, int], pointer: str) -> int | None:
    """The line of a pointer or, where nothing is there, of the nearest thing around it."""
    while pointer and pointer not in lines:
        pointer = pointer.rpartition("/")[0]
    return lines.get(pointer)
