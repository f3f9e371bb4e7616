"""Completing a step that waits, from outside: a timer that is due, the input of a resume."""

from dataclasses import replace
from typing import Any

from models.base import dump_json
from models.errors import OrchestratorError
from models.moves import AttemptChange, AttemptResult, Move, Transition
from models.queries import steps
from models.states import StepStatus
from orchestrator.core import decide
from orchestrator.services import asking, data, inline
from orchestrator.services.advance import Advance


def complete(advance: Advance, no: int, attempt: int, output: Any) -> bool:
    """Complete waiting step `no` with `output`, in the advance's transaction; False on a lost race."""
    node = advance.plan.at(no)
    names = data.names(advance.session, advance.plan, advance.info, no=no)
    names.know(
        no, steps.Stored(no=no, status=StepStatus.SUCCESS, attempt=attempt, out_edges=None, output=output)
    )
    try:
        holds = inline.edge_values(node, names)
    except OrchestratorError as error:
        return _fail(advance, no, attempt, error)
    digits = decide.edges_on_success(node, route=None, terminal=False, holds=holds)
    move = Move(
        no=no,
        fence=attempt,
        sources=(StepStatus.WAITING,),
        to=StepStatus.SUCCESS,
        event="step.completed",
        more={"edges": digits},
        tries=1,
        losses=0,
        out_edges=digits,
        change=AttemptChange.END,
        result=AttemptResult(status="success", output=dump_json(output)),
    )
    return advance.start(
        Transition(
            run_id=advance.info.id,
            moves=(move,),
            decisions=decide.decisions(advance.plan, node, digits),
            while_=("running", "paused"),
        )
    )


def _fail(advance: Advance, no: int, attempt: int, error: OrchestratorError) -> bool:
    node = advance.plan.at(no)
    failed = inline.failed(advance.plan, node, attempt, asking.step_error(error))
    move = replace(failed.move, sources=(StepStatus.WAITING,), bump=0, change=AttemptChange.END)
    assert failed.error is not None
    return advance.fail(node, move, failed.decisions, failed.error)
