"""Workflows written in Python: their file is run here, in the user's process; the API never takes Python."""

import runpy
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.errors import InvalidError
from orchestrator.builder.validation import refuse_unsound
from orchestrator.builder.workflow import Workflow
from orchestrator.core.refusals import malformed


def load(path: Path, name: str | None) -> dict[str, Any]:
    """The definition that a file makes: the workflow of this name, else the only one at module level.

    Raises InvalidError, with the line of the file, where it can't be run, has none or several, or makes what
    JSON can't hold.
    """
    found = {key: value for key, value in _run(path).items() if isinstance(value, Workflow)}
    definition = (_only(found, path) if name is None else _named(found, path, name)).to_dict()
    refuse_unsound(definition)
    return definition


def _only(found: dict[str, Workflow], path: Path) -> Workflow:
    names = _names(found)
    if not names:
        raise malformed(f"{path} makes no Workflow at module level; assign one to a name there")
    if len(names) > 1:
        message = f"{path} makes {len(names)} workflows: {', '.join(names)}; name one, as {path}:{names[0]}"
        raise malformed(message)
    return found[names[0]]


def _names(found: dict[str, Workflow]) -> list[str]:
    """The first name of each workflow, in order."""
    first: dict[int, str] = {}
    for name, workflow in found.items():
        first.setdefault(id(workflow), name)
    return list(first.values())


def _named(found: dict[str, Workflow], path: Path, name: str) -> Workflow:
    if name in found:
        return found[name]
    others = f"it makes {', '.join(found)}" if found else "it makes none at module level"
    raise malformed(f"{path} has no Workflow of the name {name}; {others}")


def _run(path: Path) -> dict[str, Any]:
    """What a file defines. What it prints goes to standard error: the output is the command's."""
    with _importing_from(path.parent), redirect_stdout(sys.stderr):
        try:
            return runpy.run_path(str(path), run_name="__workflow__")
        except InvalidError as error:
            raise _at(error, _line(error, path)) from error
        except (Exception, SystemExit) as error:
            kind, text = type(error).__name__, str(error)
            message = f"running {path} ended with {kind}{': ' if text else ''}{text}; python {path} shows where"
            raise malformed(message, _line(error, path)) from error


@contextmanager
def _importing_from(directory: Path) -> Iterator[None]:
    """As Python does for a script: its neighbours can be imported."""
    before = list(sys.path)
    sys.path.insert(0, str(directory.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before


def _line(error: BaseException, path: Path) -> int | None:
    """The last line of the file that took part in an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)


def _at(error: InvalidError, line: int | None) -> InvalidError:
    if not error.problems:
        return malformed(str(error), line)
    problems = [replace(problem, line=problem.line or line) for problem in error.problems]
    return InvalidError(str(error), problems, code=error.code)
