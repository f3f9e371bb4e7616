"""What people type after options, as data."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click


def pairs(texts: Iterable[str], option: str) -> dict[str, Any]:
    """`key=value` texts and `@file.json` ones laid over each other in order; a value is JSON where it can be.

    Raises click.BadParameter naming the text and the form it should have.
    """
    found: dict[str, Any] = {}
    for text in texts:
        if text.startswith("@"):
            found.update(_file(Path(text[1:]), option))
            continue
        key, separator, value = text.partition("=")
        if not separator or not key:
            message = f"{text!r} is not of the form key=value or @file.json"
            raise click.BadParameter(message, param_hint=option)
        found[key] = value_of(value)
    return found


def value_of(text: str) -> Any:
    """JSON where the text is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def texts(given: Iterable[str], option: str) -> dict[str, str]:
    """`key=value` texts whose values stay text."""
    found = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{text!r} is not of the form key=value", param_hint=option)
        found[key] = value
    return found


def _file(path: Path, option: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}", param_hint=option) from error
    if not isinstance(data, dict):
        raise click.BadParameter(f"{path} holds no JSON object", param_hint=option)
    return data
