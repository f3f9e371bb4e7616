"""A container's branches: the iterations of a loop, the branches of a parallel; and what they are made of."""

from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Json


class Container(Base):
    """The counters of a loop or parallel that has been opened, by the number of its step.

    `total` is null where only a condition tells when it ends. Branches 0 … `opened` - 1 have rows.
    """

    __tablename__ = "container"

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    total: Mapped[int | None]
    opened: Mapped[int]
    ended: Mapped[int]
    failed: Mapped[int]


class ContainerItems(Base):
    """The items of a container, some to a row: those from `first` on. A branch's item is never copied."""

    __tablename__ = "container_items"

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    items: Mapped[Any] = mapped_column(Json)


class Branch(Base):
    """One branch, numbered within its run from 1 on; its steps' numbers follow from that (core/plan.py).

    A container that is opened anew leaves its branches `stale`: they are used again, place by place, as it opens
    branches; those beyond keep their steps as they ended.

    `open_steps` counts its steps that are not terminal; `error` is the first failure that no edge took,
    `result` what `collect` gave, where the container has one.
    """

    __tablename__ = "branch"
    __table_args__ = (
        # Partial, though container is never null: only what looks for one may use it, not what names a branch.
        Index(
            "uq_branch_container",
            "run_id",
            "container",
            "position",
            unique=True,
            postgresql_where=text("container IS NOT NULL"),
            sqlite_where=text("container IS NOT NULL"),
        ),
        {"postgresql_with": {"fillfactor": 70}},
    )

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    container: Mapped[int] = mapped_column(BigInteger)
    position: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))  # open | success | failed | aborted | stale
    open_steps: Mapped[int]
    error: Mapped[Any] = mapped_column(Json, nullable=True)  # {code, message, step, details}
    result: Mapped[Any] = mapped_column(Json, nullable=True)


class PastItems(Base):
    """Items of an opening that was taken back, as events up to number `until` saw them."""

    __tablename__ = "past_items"

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    until: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    items: Mapped[Any] = mapped_column(Json)


class PastResult(Base):
    """What `collect` gave for a branch that was taken back, as events up to number `until` saw it."""

    __tablename__ = "past_result"

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    until: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    result: Mapped[Any] = mapped_column(Json)
