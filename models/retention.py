"""Runs that have left, and of which not every row has."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from models.base import At, Base, Key


class DepartedRun(Base):
    """A run whose row is gone, and with it the run for all who look; the rest of its rows goes in batches.

    swept_at: when a sweep last took some of them.
    """

    __tablename__ = "departed_run"
    __table_args__ = (Index(None, "swept_at"),)

    run_id: Mapped[Key]
    swept_at: Mapped[At]
