"""`client.workflows`: definitions, their versions and what is drawn from them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.client.transport import Transport, segment
from orchestrator.client.workflow_answers import (
    Diff,
    Plan,
    Tested,
    Validation,
    Version,
    VersionSummary,
    Workflow,
    WorkflowSummary,
    Written,
)

Definition = Mapping[str, Any] | str | bytes


class Workflows:
    """Workflows, named by id or name. A definition is data, or text in YAML or JSON."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, definition: Definition, *, idempotency_key: str | None = None) -> Written:
        """A new workflow at version 1. Raises Invalid with every problem; Conflict where the name is taken."""
        return self._write("POST", "/api/workflows", definition, idempotency_key)

    def update(
        self, workflow: str, definition: Definition, *, idempotency_key: str | None = None
    ) -> Written:
        """The next version; the same content makes none. Brings an archived workflow back."""
        return self._write("PUT", _path(workflow), definition, idempotency_key)

    def validate(self, definition: Definition) -> Validation:
        """Every problem of a definition; nothing is stored."""
        found: Validation = self._transport.write("POST", "/api/workflows/validate", **_sent(definition))
        return found

    def list(self, limit: int | None = None, *, archived: bool = False) -> Iterator[WorkflowSummary]:
        """Workflows, newest first; archived ones too where asked for."""
        return self._transport.pages("/api/workflows", limit, archived="true" if archived else None)

    def get(self, workflow: str) -> Workflow:
        """A workflow with its current definition."""
        found: Workflow = self._transport.get(_path(workflow))
        return found

    def archive(self, workflow: str) -> WorkflowSummary:
        """Refuse new runs; versions and runs stay."""
        archived: WorkflowSummary = self._transport.write("DELETE", _path(workflow))
        return archived

    def versions(self, workflow: str, limit: int | None = None) -> Iterator[VersionSummary]:
        """Versions, newest first."""
        return self._transport.pages(f"{_path(workflow)}/versions", limit)

    def version(self, workflow: str, number: int) -> Version:
        """One version with its definition."""
        found: Version = self._transport.get(f"{_path(workflow)}/versions/{number}")
        return found

    def rollback(self, workflow: str, version: int, *, idempotency_key: str | None = None) -> Written:
        """Append the content of an old version as the newest."""
        path = f"{_path(workflow)}/rollback"
        written: Written = self._transport.write(
            "POST", path, {"version": version}, idempotency_key=idempotency_key
        )
        return written

    def diff(self, workflow: str, old: int | None = None, new: int | None = None) -> Diff:
        """Compare two versions; by default the current one against the one before."""
        found: Diff = self._transport.get(f"{_path(workflow)}/diff", **{"from": old, "to": new})
        return found

    def test(
        self,
        workflow: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        mocks: Mapping[str, Any] | None = None,
        script: Sequence[Mapping[str, Any]] = (),
        **more: Any,
    ) -> Tested:
        """Run it with mocks and a virtual clock; nothing is stored or sent.

        more: variables, version, definition; history, to replay a recorded run. Raises Invalid.
        """
        body = {"inputs": dict(inputs or {}), "mocks": dict(mocks or {}), "script": [dict(act) for act in script]}
        tested: Tested = self._transport.write("POST", f"{_path(workflow)}/test", {**body, **more}, hold=20)
        return tested

    def plan(self, workflow: str, version: int | None = None) -> Plan:
        """The execution plan, by default of the current version."""
        found: Plan = self._transport.get(f"{_path(workflow)}/plan", version=version)
        return found

    def mermaid(self, workflow: str, version: int | None = None) -> str:
        """The diagram, by default of the current version."""
        return self._transport.text(f"{_path(workflow)}/mermaid", version=version)

    def _write(self, method: str, path: str, definition: Definition, key: str | None) -> Written:
        written: Written = self._transport.write(method, path, **_sent(definition), idempotency_key=key)
        return written


def _path(workflow: str) -> str:
    return f"/api/workflows/{segment(workflow)}"


def _sent(definition: Definition) -> dict[str, Any]:
    if isinstance(definition, str):
        return {"source": definition.encode()}
    return {"source": definition} if isinstance(definition, bytes) else {"body": definition}
