"""`/api/workflows`: definitions, their versions and what is drawn from them."""

from typing import Any

from flask import Response

from api.errors import shown
from api.nouns import Call, Nouns, Takes
from api.schemas import workflows as schemas
from api.schemas.common import PageQuery
from orchestrator.services import versions, workflows
from orchestrator.testing import apart

bp = Nouns("workflows", __name__, url_prefix="/api/workflows", tag="workflows")
NUMBER = "<int(max=2147483647):number>"


@bp.post("")
@bp.view("define", body=Takes.DEFINITION, returns=schemas.Written, status=201)
def create_workflow(call: Call) -> Any:
    """Create a workflow."""
    return workflows.create(call.deps, call.actor, call.document, call.once)


@bp.post("/validate")
@bp.view("define", "read", body=Takes.DEFINITION, returns=schemas.Validation)
def validate_definition(call: Call) -> Any:
    """Check a definition; nothing is stored."""
    verdict = workflows.validate(call.deps, call.document)
    return {**verdict, "errors": [shown(problem) for problem in verdict["errors"]]}


@bp.get("")
@bp.view("read", query=schemas.WorkflowsQuery, returns=schemas.Workflows)
def list_workflows(call: Call) -> Any:
    """List workflows, newest first."""
    return workflows.list_(call.deps, call.actor, call.page(), archived=call.query.get("archived", False))


@bp.get("/<workflow>")
@bp.view("read", returns=schemas.Workflow)
def get_workflow(call: Call, workflow: str) -> Any:
    """Read a workflow with its current definition."""
    return workflows.get(call.deps, call.actor, workflow)


@bp.put("/<workflow>")
@bp.view("define", body=Takes.DEFINITION, returns=schemas.Written)
def update_workflow(call: Call, workflow: str) -> Any:
    """Write the next version; the same content makes none. An archived workflow comes back."""
    return workflows.update(call.deps, call.actor, workflow, call.document, call.once)


@bp.delete("/<workflow>")
@bp.view("define", returns=schemas.WorkflowSummary)
def archive_workflow(call: Call, workflow: str) -> Any:
    """Archive a workflow: no new runs; versions and runs stay."""
    return workflows.archive(call.deps, call.actor, workflow, call.once)


@bp.get("/<workflow>/versions")
@bp.view("read", query=PageQuery, returns=schemas.Versions)
def list_versions(call: Call, workflow: str) -> Any:
    """List versions, newest first."""
    return versions.list_(call.deps, call.actor, workflow, call.page())


@bp.get(f"/<workflow>/versions/{NUMBER}")
@bp.view("read", returns=schemas.Version)
def get_version(call: Call, workflow: str, number: int) -> Any:
    """Read one version with its definition."""
    return versions.get(call.deps, call.actor, workflow, number)


@bp.post("/<workflow>/rollback")
@bp.view("define", body=schemas.RollbackBody, returns=schemas.Written)
def roll_back(call: Call, workflow: str) -> Any:
    """Append the content of an old version as the newest."""
    return versions.rollback(call.deps, call.actor, workflow, call.body["version"], call.once)


@bp.get("/<workflow>/diff")
@bp.view("read", query=schemas.DiffQuery, returns=schemas.Diff)
def diff_versions(call: Call, workflow: str) -> Any:
    """Compare two versions."""
    old, new = call.query.get("from_"), call.query.get("to")
    return versions.diff(call.deps, call.actor, workflow, old=old, new=new)


@bp.post("/<workflow>/test")
@bp.view("define", body=schemas.TestBody, returns=schemas.Tested)
def test_workflow(call: Call, workflow: str) -> Any:
    """Run a workflow with mocks and a virtual clock, or replay a recorded run; nothing is stored or sent."""
    return apart.carry_out(call.deps, call.actor, workflow, call.body)


@bp.get("/<workflow>/mermaid")
@bp.view("read", query=schemas.VersionQuery, media="text/plain")
def draw_workflow(call: Call, workflow: str) -> Any:
    """Draw a version as a Mermaid diagram."""
    text = versions.mermaid(call.deps, call.actor, workflow, call.query.get("version"))
    return Response(text, content_type="text/plain; charset=utf-8")


@bp.get("/<workflow>/plan")
@bp.view("read", query=schemas.VersionQuery, returns=schemas.Plan)
def get_plan(call: Call, workflow: str) -> Any:
    """Read the execution plan of a version."""
    return versions.plan(call.deps, call.actor, workflow, call.query.get("version"))
