"""What steps take turns for: pools of slots, and the processes that consume queues."""

from typing import Any

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Json, Key, Name


class Pool(Base):
    """A name for `size` slots of a workspace. Which are taken is read from the attempts that live."""

    __tablename__ = "pool"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[Key]
    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[Name]
    size: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[At]


class Consumer(Base):
    """A worker process that takes messages of a queue, `slots` of them at once; it says so every few seconds.

    cheap: the node types that it found to take next to nothing, a list of names.
    """

    __tablename__ = "consumer"

    process: Mapped[Name] = mapped_column(primary_key=True)
    queue: Mapped[str] = mapped_column(String(255), primary_key=True)
    slots: Mapped[int] = mapped_column(Integer)
    cheap: Mapped[Any] = mapped_column(Json, nullable=True)
    seen_at: Mapped[At]
