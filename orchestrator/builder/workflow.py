"""A workflow written in Python: what its methods note becomes the definition that the API takes."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from orchestrator.builder.fields import WorkflowFields
from orchestrator.builder.node_types import NodeTypes
from orchestrator.builder.references import plain

if TYPE_CHECKING:
    from orchestrator.core.definition import Compiled


class Workflow(NodeTypes):
    """A definition in the making: its methods make nodes, `>>` joins them."""

    def __init__(self, name: str, **fields: Unpack[WorkflowFields]) -> None:
        super().__init__()
        self._body = self._open[0]
        self._fields: dict[str, Any] = {"name": name, **plain(fields)}

    @property
    def name(self) -> str:
        """The workflow's name."""
        return str(self._fields["name"])

    def outputs(self, **outputs: Any) -> None:
        """Set the run's outputs, laid over those given before; values hold `{{ }}` or references of nodes."""
        self._fields["outputs"] = {**self._fields.get("outputs", {}), **plain(outputs)}

    def to_dict(self) -> dict[str, Any]:
        """The definition as plain data, of the caller's own."""
        copied: dict[str, Any] = plain({**self._fields, **self._body.to_dict()})
        return copied

    def to_json(self) -> str:
        """The definition as JSON. Raises InvalidError where a value is of no type of JSON."""
        return json.dumps(self._sound(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_yaml(self) -> str:
        """The definition as YAML that is read as the same. Raises InvalidError as `to_json` does."""
        from orchestrator.builder.yaml_text import dump

        return dump(self._sound())

    def validate(self) -> "Compiled":
        """Check it as the API does; gives class, estimate and digest.

        Raises InvalidError with all problems, in the traceback too. The limits are those of this machine's settings.
        """
        from orchestrator.builder.validation import compile_

        return compile_(self.to_dict())

    def _sound(self) -> Mapping[str, Any]:
        from orchestrator.builder.validation import refuse_unsound

        data = self.to_dict()
        refuse_unsound(data)
        return data

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r}>"
