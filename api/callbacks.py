"""`POST /api/callbacks/{token}`: an agent without a connection answers; the address is all that it needs to know."""

from typing import Any

from apiflask import APIBlueprint
from flask import request

from api import bodies, runtime
from api.nouns import KEYLESS, answer, described
from api.schemas import loading
from api.schemas.agent_answers import AgentAnswer, AnswerTaken
from models.errors import NotFoundError
from orchestrator.services import callbacks, called_back

bp = APIBlueprint("callbacks", __name__)


@bp.post("/api/callbacks/<token>")
@bp.doc(
    operation_id="answer_callback",
    tags=["callbacks"],
    responses={200: described(AnswerTaken)},
    extensions={KEYLESS: True},
)
def answer_callback(token: str) -> Any:
    """Answer for an agent: the work came with this address, which needs no key.

    Taken once: 409 when the attempt has ended. 503 with Retry-After when the agent was quicker than the engine; send
    it again then.
    """
    current = runtime.current()
    current.rate.take(_caller(token))
    body = loading.body(AgentAnswer(), bodies.data(request, current.deps.limits()))
    current.send(called_back.take(current.deps, token, body))
    return answer({"status": "accepted"})


# for the document alone: APIFlask's own wrapper would parse the body in its own lenient way
answer_callback._spec = bp.input(AgentAnswer)(answer_callback)._spec  # type: ignore[attr-defined]


def _caller(token: str) -> str:
    """Who is counted: the attempt, or where the address is none of ours the one who guesses."""
    try:
        return "callback {}:{}:{}".format(*callbacks.attempt_of(runtime.current().deps.settings, token))
    except NotFoundError:
        return f"callback from {request.remote_addr}"
