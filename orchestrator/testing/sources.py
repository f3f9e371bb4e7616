"""Definitions as a test gives them: a file, a text, data, or a workflow of the builder."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import InvalidError
from orchestrator.builder.workflow import Workflow
from orchestrator.core.document import Document, Limits, from_data, parse

Source = str | os.PathLike[str] | Mapping[str, Any] | Workflow


def document(source: Source, limits: Limits) -> Document:
    """The document of a definition. A string of several lines, or one that begins with `{`, is the text itself, any
    other a file's name. Raises InvalidError, OSError."""
    if isinstance(source, Workflow):
        return from_data(source.to_dict(), limits)
    if isinstance(source, Mapping):
        return from_data(dict(source), limits)
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return parse(source, media="json" if source.lstrip().startswith("{") else "yaml", limits=limits)
    path = Path(source)
    if path.suffix == ".py":
        raise ValueError(f"{path} is Python: import its Workflow and give that")
    return parse(path.read_bytes(), media="json" if path.suffix == ".json" else "yaml", limits=limits)


def name_of(found: Document) -> str:
    """The name that a definition gives itself, "" where it has none."""
    name = found.data.get("name") if isinstance(found.data, dict) else None
    return name if isinstance(name, str) else ""


def explained(error: InvalidError) -> InvalidError:
    """The same error, whose traceback shows every problem."""
    for problem in error.problems:
        line = "" if problem.line is None else f" (line {problem.line})"
        error.add_note(f"  {problem.pointer or '/'}{line}: {problem.code}: {problem.message}")
    return error
