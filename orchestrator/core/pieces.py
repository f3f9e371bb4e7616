"""Text that comes in pieces, made fit to be shown before it is whole."""

from collections.abc import Collection, Iterator

from orchestrator.core import redact

_HIGH_SURROGATES = ("\ud800", "\udbff")


def ready(text: str, secrets: Collection[str], *, ended: bool = False) -> tuple[str, str]:
    """(what can be shown, what is kept back until more has come) of a text so far.

    Secrets are masked. Kept back is an end that may be the beginning of a secret, and the first half of a
    character whose second half is still to come; nothing once the text has `ended`.
    """
    half = 0 if ended or not text else int(_HIGH_SURROGATES[0] <= text[-1] <= _HIGH_SURROGATES[1])
    body, rest = (text[:-1], text[-1]) if half else (text, "")
    shown: str = redact.redact(_characters(body), secrets)
    keep = 0 if ended else redact.begun(shown, secrets)
    return shown[: len(shown) - keep], shown[len(shown) - keep :] + rest


def _characters(text: str) -> str:
    """Two halves of a character as one; a half alone is replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\x00", "\ufffd")


def cut(text: str, most: int) -> Iterator[str]:
    """A text in parts of at most `most` characters; an empty one is one part."""
    for start in range(0, max(len(text), 1), most):
        yield text[start : start + most]
