"""The proof that the audit log is as it was written: each link computed anew from the row that it seals.

Who owns the database can rewrite row and chain together, or cut off the chain's end: an anchor, a link's position
and digest that was noted elsewhere, finds that as well. It reads in short transactions, while the engine works.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from models.queries import audit, audit_chain
from orchestrator.core.audit import GENESIS, link
from orchestrator.services.auditing import content
from orchestrator.services.deps import Deps

_BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A link as it was once: its place in the chain and its digest."""

    position: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where the log is not as it was written. position: of the link; None of what has none."""

    position: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found. head: the last link, which may be anchored; waiting: acts without a link yet."""

    head: Anchor | None
    waiting: int
    breaks: tuple[Break, ...]


def verify(deps: Deps, anchor: Anchor | None = None) -> Verified:
    """Check the whole log, and that it still goes through an earlier head."""
    breaks = [*_unguarded(deps), *_broken(deps), *_unlinked(deps)]
    with deps.db.read() as session:
        if anchor is not None and audit_chain.digest_at(session, anchor.position) != anchor.digest:
            message = "is not the link that was anchored: the chain was cut off or written anew"
            breaks.append(Break(position=anchor.position, message=message))
        head, waiting = audit.last_seal(session), audit_chain.waiting(session)
    breaks.sort(key=lambda each: (each.position is None, each.position or 0))
    found = None if head is None else Anchor(position=head.position, digest=head.digest)
    return Verified(head=found, waiting=waiting, breaks=tuple(breaks))


def _unguarded(deps: Deps) -> Iterator[Break]:
    with deps.db.read() as session:
        missing = audit_chain.missing_guards(session)
    for name in missing:
        yield Break(position=None, message=f"trigger {name} is gone or switched off")


def _broken(deps: Deps) -> Iterator[Break]:
    position, digest = 0, GENESIS
    while True:
        with deps.db.read() as session:
            rows = audit_chain.links(session, position, _BATCH)
        for seal, act in rows:
            if seal.position != position + 1:
                yield Break(position=position + 1, message=f"the links up to {seal.position - 1} are gone")
            if seal.position == position + 1 and seal.previous != digest:
                yield Break(position=seal.position, message="does not follow the link before it")
            if act is None:
                yield Break(position=seal.position, message=f"the act {seal.audit_id} is gone")
            elif link(seal.previous, content(act)) != seal.digest:
                yield Break(position=seal.position, message=f"the act {seal.audit_id} or its link was changed")
            position, digest = seal.position, seal.digest
        if not rows:
            return


def _unlinked(deps: Deps) -> Iterator[Break]:
    """Acts that nobody will seal."""
    after = None
    with deps.db.read() as session:
        lost = audit_chain.lost(session, _BATCH)
    for audit_id in lost:
        yield Break(position=None, message=f"the act {audit_id} is gone, which had no link yet")
    while True:
        with deps.db.read() as session:
            rows = audit_chain.acts(session, after, _BATCH)
        for audit_id, sealed, waits in rows:
            if not (sealed or waits):
                what = "has no link and waits for none: it was written past the engine, or its link was cut off"
                yield Break(position=None, message=f"the act {audit_id} {what}")
        if not rows:
            return
        after = rows[-1][0]
