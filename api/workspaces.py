"""`/api/workspaces`: what separates teams."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import administration as schemas
from api.schemas.common import PageQuery
from orchestrator.services import workspaces

bp = Nouns("workspaces", __name__, url_prefix="/api/workspaces", tag="workspaces")


@bp.post("")
@bp.view("admin", body=schemas.WorkspaceBody, returns=schemas.Workspace, status=201)
def create_workspace(call: Call) -> Any:
    """Make a workspace; for admins of the workspace `default`."""
    return workspaces.create(call.deps, call.actor, call.body["name"], call.once)


@bp.get("")
@bp.view("admin", query=PageQuery, returns=schemas.Workspaces)
def list_workspaces(call: Call) -> Any:
    """List the workspaces that the key administers, newest first."""
    return workspaces.list_(call.deps, call.actor, call.page())


@bp.patch("/<workspace>")
@bp.view("admin", body=schemas.WorkspacePatch, returns=schemas.Workspace)
def update_workspace(call: Call, workspace: str) -> Any:
    """Change how long the runs of a workspace are kept after their end."""
    return workspaces.update(call.deps, call.actor, workspace, call.body, call.once)


@bp.get("/<workspace>")
@bp.view("admin", returns=schemas.Workspace)
def get_workspace(call: Call, workspace: str) -> Any:
    """Read a workspace, by id or name."""
    return workspaces.get(call.deps, call.actor, workspace)
