"""The one door through which steps move: one call, one round, on either database.

Every move is an UPDATE whose WHERE names the legal source states and the fence; it writes its event in the
same transaction. Lock order, everywhere: run → steps by number → budget (spec "engine", The statement).
"""

from sqlalchemy.orm import Session

from models.moves import Transition, Transitioned
from models.queries import transitions_postgresql, transitions_sqlite


def apply(session: Session, transition: Transition) -> Transitioned | None:
    """Carry out one round; None when the run is not there or in none of the statuses asked for.

    A move that lost its race is absent from `moved`, and the decisions of its edges are not applied.
    """
    if session.get_bind().dialect.name == "sqlite":
        return transitions_sqlite.apply(session, transition)
    return transitions_postgresql.apply(session, transition)
