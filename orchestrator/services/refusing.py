"""A fire whose run was refused: the workflow is archived, its inputs do not fit any more, the budget is too small."""

from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.orm import Session

from models.errors import InvalidError, OrchestratorError
from models.queries import operational
from models.schedule import Schedule
from orchestrator.services.shapes import moment

_log = structlog.get_logger(__name__)


def shown(error: OrchestratorError) -> dict[str, Any]:
    """Why, as a fire shows it."""
    problems = error.problems if isinstance(error, InvalidError) else ()
    details = [f"{problem.pointer}: {problem.message}" for problem in problems[:3]]
    return {"code": error.code, "message": "; ".join([str(error), *details])}


def tell(session: Session, row: Schedule, fire_at: datetime, error: OrchestratorError) -> None:
    """Tell those who watch, in the transaction that writes it down."""
    about = {"schedule_id": row.id, "name": row.name, "fire_at": moment(fire_at), "error": shown(error)}
    operational.note(session, "schedule.refused", [(row.workspace_id, about)])
    _log.warning("fire refused", schedule=row.id, name=row.name, fire_at=moment(fire_at), code=error.code)
