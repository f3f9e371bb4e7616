"""`/api/signals`: signals of senders that know a key and no run."""

from typing import Any

from api.nouns import Call, Nouns
from api.schemas import people as schemas
from orchestrator.services import signals
from orchestrator.services.signals import Sent

bp = Nouns("signals", __name__, url_prefix="/api/signals", tag="signals")


@bp.post("")
@bp.view("operate", body=schemas.KeyedSignalBody, returns=schemas.SignalReceipt)
def send_signal(call: Call) -> Any:
    """Signal whoever waits for this name and key; kept until somebody does."""
    body = call.body
    sent = Sent(signal=body["signal"], data=body["data"], id=body["id"])
    received = signals.to_key(call.deps, call.actor, body["key"], sent, call.once)
    call.runtime.send(received.effects)
    return received.answer
