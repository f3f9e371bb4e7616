"""Definitions for tests: compile them with the built-in node types, or list what is wrong with them."""

from collections.abc import Collection
from typing import Any

import pytest

from models.errors import InvalidError, Problem
from orchestrator import registry
from orchestrator.core.definition import Compiled, compile_definition
from orchestrator.core.document import Document, Limits, from_data, parse

LIMITS = Limits()
TYPES = registry.node_types()


def workflow(*nodes: dict[str, Any], edges: Any = (), **fields: Any) -> dict[str, Any]:
    """A definition named `test`."""
    return {"name": "test", "nodes": list(nodes), "edges": list(edges), **fields}


def noop(node_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "type": "noop", **fields}


def compiled(source: Any, *, env_allow: Collection[str] = (), limits: Limits = LIMITS) -> Compiled:
    """What a definition, as data or as YAML text, compiles to."""
    return compile_definition(_document(source, limits), types=TYPES, limits=limits, env_allow=env_allow)


def refusal(source: Any, *, env_allow: Collection[str] = (), limits: Limits = LIMITS) -> InvalidError:
    """The error that a definition is refused with; fails when it is accepted."""
    with pytest.raises(InvalidError) as caught:
        compiled(source, env_allow=env_allow, limits=limits)
    return caught.value


def problems(source: Any, *, env_allow: Collection[str] = ()) -> list[Problem]:
    return list(refusal(source, env_allow=env_allow).problems)


def wrong(source: Any, *, env_allow: Collection[str] = ()) -> list[tuple[str, str]]:
    """The pointers and codes of all that is wrong."""
    return [(problem.pointer, problem.code) for problem in problems(source, env_allow=env_allow)]


def _document(source: Any, limits: Limits) -> Document:
    if isinstance(source, str | bytes):
        return parse(source, media="yaml", limits=limits)
    return from_data(source, limits)
