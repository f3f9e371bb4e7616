"""The validation of the API, on this machine: the same compiler, the node types that are installed here."""

from typing import Any

from models.errors import InvalidError
from orchestrator import registry
from orchestrator.core.definition import Compiled, compile_definition
from orchestrator.core.document import Limits, from_data
from orchestrator.settings import Settings, load

# JSON and YAML need only an end; how deep a definition may nest is the API's to say.
_WRITABLE = Limits(max_nesting=256)


def compile_(data: dict[str, Any]) -> Compiled:
    """Raises InvalidError whose notes name each problem, as a traceback shows them."""
    settings = load()
    limits = limits_of(settings)
    try:
        document = from_data(data, limits)
        return compile_definition(
            document, types=registry.node_types(), limits=limits, env_allow=settings.env_allow
        )
    except InvalidError as error:
        for problem in error.problems:
            error.add_note(f"  {problem.pointer or '/'}: {problem.code}: {problem.message}")
        raise


def refuse_unsound(data: dict[str, Any]) -> None:
    """Raises InvalidError where data can be written neither as JSON nor as YAML."""
    from_data(data, _WRITABLE)


def limits_of(settings: Settings) -> Limits:
    """What a definition is checked against."""
    return Limits(
        max_body_bytes=settings.max_body_bytes,
        max_nodes=settings.max_nodes,
        max_depth=settings.max_depth,
        max_nesting=settings.max_nesting,
    )
