"""Webhooks: each event for an endpoint ends delivered, dead or stopped. Source: spec "reliability" §5."""

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy.orm import Session

from models.queries import deliveries, sweeps
from orchestrator.services.fsck_record import Violation
from orchestrator.services.fsck_rows import OVERDUE_SECONDS

_MOST = 1_000


def undelivered(session: Session) -> Iterator[Violation]:
    """15: no lease of a delivery is overdue, and none waits for a webhook that is gone or disabled: it never ends."""
    late = sweeps.moment(session) - timedelta(seconds=OVERDUE_SECONDS)
    for lost in deliveries.lost(session, late, _MOST):
        yield _broken(f"the lease of delivery {lost.id} has expired")
    for delivery_id in deliveries.stranded(session, _MOST):
        yield _broken(f"delivery {delivery_id} waits for a webhook that is gone or disabled")


def _broken(message: str) -> Violation:
    return Violation(invariant=15, run_id=None, message=message)
