"""Definitions checked on this machine, with no server: the same compiler that the API uses."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.core.definition import Compiled
    from orchestrator.core.document import Document, Limits
    from orchestrator.core.nodetype import NodeType

file_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)


def read(file: Path) -> bytes:
    """The bytes of a file; `-` is standard input."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    return file.read_bytes()


def parse(file: Path, source: bytes) -> "Document":
    """Raises InvalidError where the source is no YAML or JSON."""
    from orchestrator.core import document

    media = "json" if file.suffix == ".json" else "yaml"
    return document.parse(source, media=media, limits=_limits(load()))


def compile_(file: Path) -> "tuple[Compiled, Mapping[str, NodeType]]":
    """The compiled definition and the node types it knows. Raises InvalidError with all problems."""
    from orchestrator import registry
    from orchestrator.core.definition import compile_definition

    settings, types = load(), registry.node_types()
    compiled = compile_definition(
        parse(file, read(file)), types=types, limits=_limits(settings), env_allow=settings.env_allow
    )
    return compiled, types


def _limits(settings: Settings) -> "Limits":
    from orchestrator.core.document import Limits

    return Limits(
        max_body_bytes=settings.max_body_bytes,
        max_nodes=settings.max_nodes,
        max_depth=settings.max_depth,
        max_nesting=settings.max_nesting,
    )
