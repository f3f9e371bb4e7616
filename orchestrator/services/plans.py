"""Plans by version, built at write time and kept by each process; never rebuilt a step."""

import json
import threading
from collections import OrderedDict

from sqlalchemy.orm import Session

from models.errors import NotFoundError
from models.workflow import WorkflowVersion
from orchestrator.core.plan import Plan


class PlanCache:
    """The `size` plans that were used last, by version id. Thread-safe; versions never change."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    def known(self, version_id: str) -> Plan | None:
        """The plan of a version, if it is at hand."""
        with self._lock:
            return self._plans.get(version_id)

    def get(self, session: Session, version_id: str) -> Plan:
        """The plan of a version. Raises NotFoundError."""
        with self._lock:
            plan = self._plans.get(version_id)
            if plan is not None:
                self._plans.move_to_end(version_id)
                return plan
        with self._loading:  # one thread reads a plan, the others find it here
            plan = self._plans.get(version_id)
            if plan is None:
                plan = self._load(session, version_id)
                with self._lock:
                    self._plans[version_id] = plan
                    while len(self._plans) > self._size:
                        self._plans.popitem(last=False)
        return plan

    def _load(self, session: Session, version_id: str) -> Plan:
        row = session.get(WorkflowVersion, version_id)
        if row is None:
            raise NotFoundError(f"there is no workflow version {version_id}")
        return Plan.from_json(json.loads(row.plan))
