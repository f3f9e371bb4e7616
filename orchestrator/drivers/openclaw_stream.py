"""What an agent writes, as it writes it, split: one side to the client, the other to the token count.

Source: spec "gateway" §4, Events for a run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from orchestrator.bridge import Piece
from orchestrator.core.outcome import Failed, Usage
from orchestrator.drivers.openclaw_frames import mapping_of, number_of, text_of

_CHARACTERS_PER_TOKEN = 4

log = structlog.get_logger(__name__)


class Stream:
    """One run's. Fed by one thread at a time, over any number of connections."""

    def __init__(self, piece: Callable[[Piece], None]) -> None:
        self._piece = piece
        self._said: dict[str, str] = {}  # the text so far, of each message of the answer
        self._characters = 0
        self._tokens: int | None = None
        self._model = ""
        self._ended = False

    def take(self, payload: Mapping[str, Any]) -> None:
        """An `agent` event of the run. What makes no sense is passed over."""
        if self._ended:
            return
        data = mapping_of(payload, "data")
        match text_of(payload, "stream"):
            case "assistant":
                self._write(self._news(data))
            case "usage":
                self._count(number_of(data, "outputTokens"))
            case "lifecycle":
                self._live(data)

    def count_in(self, agent: str, outcome: Failed) -> Failed:
        """The failure with what it used, where it does not say that itself; about, where nobody said."""
        if outcome.usage is not None or (self._characters == 0 and self._tokens is None):
            return outcome
        tokens = -(-self._characters // _CHARACTERS_PER_TOKEN) if self._tokens is None else self._tokens
        return replace(outcome, usage=Usage(agent=agent, model=self._model or None, tokens_out=tokens))

    def _news(self, data: Mapping[str, Any]) -> str:
        """What of an event has not been told yet: one can be sent twice, or get lost with a socket."""
        message, delta = text_of(data, "itemId"), text_of(data, "delta")
        before = self._said.get(message, "")
        whole = text_of(data, "text") or before + delta
        if before.startswith(whole):
            return ""
        self._said[message] = whole
        if whole.startswith(before):
            return whole[len(before) :]
        return delta or whole  # another message without a name of its own

    def _write(self, text: str) -> None:
        if text:
            self._characters += len(text)
            self._tell(text)

    def _count(self, tokens: float | None) -> None:
        if tokens is not None and tokens > (self._tokens or 0):
            self._tokens = int(tokens)
            self._tell("")

    def _live(self, data: Mapping[str, Any]) -> None:
        names = [text_of(data, "provider"), text_of(data, "model")]
        self._model = "/".join(name for name in names if name)[:200] or self._model
        # After an abort a second end follows the first, numbered anew: the run does not begin again.
        self._ended = text_of(data, "phase") in ("end", "error")

    def _tell(self, text: str) -> None:
        try:
            self._piece(Piece(text=text, tokens=self._tokens))
        except Exception:
            log.exception("a piece of an agent's text was not taken")
