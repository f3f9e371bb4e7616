"""`client.signals`: signals of senders that know a key and no run; those to a run are `client.runs.signal`."""

from typing import Any

from orchestrator.client.answers import SignalReceipt
from orchestrator.client.transport import Transport


class Signals:
    """Signals by name and key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send(
        self,
        signal: str,
        key: str,
        data: Any = None,
        *,
        id: str | None = None,
        idempotency_key: str | None = None,
    ) -> SignalReceipt:
        """Signal whoever waits for the name and the key; kept until somebody does.

        id: the sender's own number of it; the first of a number counts. Raises Invalid for data that the
        schema of those who wait refuses.
        """
        sent: SignalReceipt = self._transport.write(
            "POST",
            "/api/signals",
            {"signal": signal, "key": key, "data": data, "id": id},
            idempotency_key=idempotency_key,
        )
        return sent
