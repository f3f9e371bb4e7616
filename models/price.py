"""Prices of models that a workspace sets itself."""

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from models.base import At, Base, Id, Name


class Price(Base):
    """What tokens of a model cost a workspace, in micro-cents per million; it goes before every other price."""

    __tablename__ = "price"

    workspace_id: Mapped[Id] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    model: Mapped[Name] = mapped_column(primary_key=True)
    input_microcents: Mapped[int] = mapped_column(BigInteger)
    output_microcents: Mapped[int] = mapped_column(BigInteger)
    cached_input_microcents: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[At]
