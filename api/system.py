"""Health, metrics and the description of the API; none of it needs a key."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api import openapi, runtime
from api.nouns import answer, described
from api.schemas import administration as schemas
from models.database import OUTAGES
from orchestrator.services import health

bp = APIBlueprint("system", __name__)
TAGS = ["system"]
_DOCS = Path(__file__).parent / "ui" / "docs.html"


@bp.get("/healthz")
@bp.doc(operation_id="is_alive", tags=TAGS, responses={200: described(schemas.Health)})
def is_alive() -> Any:
    """The process answers."""
    return {"status": "ok"}


@bp.get("/readyz")
@bp.doc(
    operation_id="is_ready",
    tags=TAGS,
    responses={
        200: described(schemas.Readiness),
        503: described(schemas.Readiness, description="The database is missing"),
    },
)
def is_ready() -> Any:
    """Whether work is taken: the API needs the database alone; what else is missing makes it `degraded`."""
    current = runtime.current()
    try:
        missing = health.missing(current.deps)
    except OUTAGES:
        return answer({"status": "unavailable", "missing": ["database"]}, HTTPStatus.SERVICE_UNAVAILABLE)
    if not current.broker_answers():
        missing.insert(0, "broker")
    return answer({"status": "degraded" if missing else "ready", "missing": missing})


@bp.get("/metrics")
@bp.doc(
    operation_id="get_metrics", tags=TAGS, responses={200: described({"type": "string"}, media="text/plain")}
)
def get_metrics() -> Any:
    """Metrics in Prometheus' text format."""
    return Response(generate_latest(runtime.current().metrics.registry), content_type=CONTENT_TYPE_LATEST)


@bp.get("/api/docs")
@bp.doc(hide=True)
def read_docs() -> Any:
    """The API for people."""
    response = Response(_DOCS.read_bytes(), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response


@bp.get("/api/openapi.json")
@bp.doc(hide=True)
def get_openapi() -> Any:
    """The API for programs, as OpenAPI 3.1."""
    return answer(openapi.document(current_app))
