"""Declarative base, column types that read the same on PostgreSQL and SQLite, and identifiers."""

import json
import os
import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import REAL, BigInteger, DateTime, Dialect, MetaData, String, Text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562, 5.7 and 6.2, method 3): ids sort by time of creation, to a quarter of a microsecond."""
    millis, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4_096 // 1_000_000
    noise = int.from_bytes(os.urandom(8), "big") >> 2
    return str(uuid.UUID(int=millis << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | noise))


def dump_json(value: Any) -> str:
    """Compact JSON text; refuses NaN and infinities with ValueError."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz` on PostgreSQL, seconds since 1970 as REAL on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(REAL() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return value.timestamp() if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromtimestamp(value, UTC)
        found: datetime = value.astimezone(UTC)
        return found


class Json(TypeDecorator[Any]):
    """A JSON value kept as text: the same bytes on both databases, no number rewritten, no key reordered."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else dump_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else json.loads(value)


class CurrentXid(FunctionElement[int]):
    """This transaction's number on PostgreSQL, 64 bits wide; 0 on SQLite, where rowids order what is written."""

    inherit_cache = True


@compiles(CurrentXid, "postgresql")
def _xid_postgresql(_element: CurrentXid, _compiler: Any, **_: Any) -> str:
    return "pg_current_xact_id()::text::bigint"


@compiles(CurrentXid, "sqlite")
def _xid_sqlite(_element: CurrentXid, _compiler: Any, **_: Any) -> str:
    return "0"


Identifier = String(36).with_variant(UUID(as_uuid=False), "postgresql")
Id = Annotated[str, mapped_column(Identifier)]
Key = Annotated[str, mapped_column(Identifier, primary_key=True, default=uuid7)]
Name = Annotated[str, mapped_column(String(255))]
At = Annotated[datetime, mapped_column(Moment)]
Xid = Annotated[int, mapped_column(BigInteger, server_default=CurrentXid())]
JsonValue = Annotated[Any, mapped_column(Json)]


class Base(DeclarativeBase):
    """All tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
