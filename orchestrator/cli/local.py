"""Definitions read and checked on this machine, with no server: the same compiler that the API uses."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.settings import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.core.definition import Compiled
    from orchestrator.core.document import Document
    from orchestrator.core.nodetype import NodeType

_PYTHON = ".py"


class DefinitionFile(click.Path):
    """A file of YAML, JSON or Python; `-` is standard input, `file.py:name` one workflow of several."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        super().convert(str(_split(Path(value))[0]), param, ctx)
        return Path(value)


file_argument = click.argument("file", type=DefinitionFile())


def is_file(text: str) -> bool:
    """Whether an argument that may be something else names a definition file."""
    return text == "-" or _split(Path(text))[0].is_file()


def read(file: Path) -> bytes | dict[str, Any]:
    """The text of a file; `-` is standard input. A Python file is run, and gives its workflow as data.

    Raises InvalidError where a Python file can't be run, makes no workflow, or one that is no JSON.
    """
    if str(file) == "-":
        return sys.stdin.buffer.read()
    path, name = _split(file)
    if path.suffix == _PYTHON:
        from orchestrator.cli import python_file

        return python_file.load(path, name)
    return file.read_bytes()


def parse(file: Path, source: bytes | dict[str, Any]) -> "Document":
    """Raises InvalidError where the source is no YAML or JSON."""
    from orchestrator.builder.validation import limits_of
    from orchestrator.core import document

    limits = limits_of(load())
    if not isinstance(source, bytes):
        return document.from_data(source, limits)
    return document.parse(source, media="json" if file.suffix == ".json" else "yaml", limits=limits)


def compile_(file: Path) -> "tuple[Compiled, Mapping[str, NodeType]]":
    """The compiled definition and the node types it knows. Raises InvalidError with all problems."""
    from orchestrator import registry
    from orchestrator.builder.validation import limits_of
    from orchestrator.core.definition import compile_definition

    settings, types = load(), registry.node_types()
    compiled = compile_definition(
        parse(file, read(file)), types=types, limits=limits_of(settings), env_allow=settings.env_allow
    )
    return compiled, types


def _split(file: Path) -> tuple[Path, str | None]:
    """The path, and the name behind the colon in `file.py:name`."""
    path, colon, name = str(file).rpartition(":")
    if colon and path.endswith(_PYTHON) and name.isidentifier() and not file.exists():
        return Path(path), name
    return file, None
