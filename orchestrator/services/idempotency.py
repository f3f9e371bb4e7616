"""A write that carries an `Idempotency-Key` happens once, and a repeat gets the first one's answer.

Source: spec "http-api". What refuses (4xx) and what breaks (5xx) rolls the key back with the write: nothing
happened, so a repeat is judged anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from models.errors import InvalidError
from models.operation import IdempotentAnswer
from models.queries import idempotency

KEPT = timedelta(hours=24)


@dataclass(slots=True, kw_only=True)
class Once:
    """One write's guard. Without a `key` it does nothing.

    The service that owns the write's transaction calls `begin` first and `finish` last in it. `digest` is of
    the method, path and body; `status` is what the caller answers a success with. `show` makes what is kept
    out of what the service hands to `finish`; a member `id` stays.
    """

    workspace_id: str = ""
    key: str | None = None
    digest: str = ""
    status: int = 0
    show: Callable[[Session, Mapping[str, Any]], dict[str, Any]] | None = None
    answer: dict[str, Any] | None = field(default=None, init=False)
    replayed: bool = field(default=False, init=False)

    def earlier(self, session: Session) -> dict[str, Any] | None:
        """The answer of the same write before, where it is kept already; nothing is claimed.

        For a write of many transactions, which keeps its answer in the last one. Raises as `begin` does.
        """
        since = datetime.now(UTC) - KEPT
        kept = self.key and idempotency.find(session, self.workspace_id, self.key, since)
        return self._same(kept) if kept else None

    def begin(self, session: Session) -> dict[str, Any] | None:
        """The answer of the same write before, or None: then do the write.

        Raises InvalidError (IDEMPOTENCY_KEY_REUSED) when the key came with another request.
        """
        if self.key is None:
            return None
        now = datetime.now(UTC)
        if idempotency.claim(
            session,
            workspace_id=self.workspace_id,
            key=self.key,
            digest=self.digest,
            at=now,
            expired=now - KEPT,
        ):
            return None
        return self._same(idempotency.kept(session, self.workspace_id, self.key))

    def _same(self, row: IdempotentAnswer) -> dict[str, Any]:
        """What a row keeps, for the same write again."""
        if row.digest != self.digest:
            raise InvalidError(
                "This Idempotency-Key was used for another request (path or body differ); "
                "send a new key with a new request",
                code="IDEMPOTENCY_KEY_REUSED",
            )
        self.answer, self.replayed = dict(row.body), True
        return self.answer

    def finish(self, session: Session, answer: Mapping[str, Any]) -> None:
        """Keep the answer, in the transaction of the write."""
        if self.key is not None:
            self.answer = dict(answer) if self.show is None else self.show(session, answer)
            idempotency.keep(session, self.workspace_id, self.key, status=self.status, body=self.answer)
