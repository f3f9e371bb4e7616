"""`/api/audit`: who did what, when and why."""

from typing import Any

from flask import Response

from api.nouns import Call, Nouns, described
from api.schemas import audit as schemas
from orchestrator.services import audit_views
from orchestrator.services.audit_views import AuditFilter

bp = Nouns("audit", __name__, url_prefix="/api/audit", tag="audit")
_MEDIA = {"jsonl": "application/jsonl", "csv": "text/csv"}
_PLAIN = {media: {"schema": {"type": "string"}} for media in _MEDIA.values()}
_ANSWER = described(schemas.Acts)


@bp.get("")
@bp.view("read", query=schemas.AuditQuery, also={200: {**_ANSWER, "content": {**_ANSWER["content"], **_PLAIN}}})
def list_audit(call: Call) -> Any:
    """List acts of people and keys, newest first, or export all that fit as lines."""
    wanted = AuditFilter(**{k: v for k, v in call.query.items() if k not in ("limit", "cursor", "format")})
    format_ = call.query.get("format")
    if format_ is None:
        return audit_views.page(call.deps, call.actor, wanted, call.page())
    lines = audit_views.lines(call.deps, call.actor, wanted, format_)
    response = Response(lines, content_type=f"{_MEDIA[format_]}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="audit.{format_}"'
    return response
