"""What is still to be undone of a run."""

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id


class Compensation(Base):
    """A step of a run that is to be undone, by its number; the row goes when it was, or when the run goes on.

    `attempt` is the one whose work is undone, `seq` the number of the event that told of its success: the greatest
    is undone first.
    """

    __tablename__ = "compensation"
    __table_args__ = (Index(None, "run_id", "state", "seq"),)

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    seq: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))  # open | begun | failed
