"""One run of an agent, from the request to its end."""

import asyncio
from dataclasses import dataclass, field

from orchestrator.gateway.database import now_ms
from orchestrator.gateway.finals import Final
from orchestrator.gateway.script import Script

DEFAULT_TIMEOUT = 48 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A run as a client asks for it. Empty `agent` and `session_key`: the usual ones; `timeout` in seconds."""

    run_id: str
    message: str
    agent: str = ""
    session_key: str = ""
    timeout: float = DEFAULT_TIMEOUT
    attempt: int = 1
    admin: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Run:
    """One run in memory; gone with the process. `seq` numbers its events, times are milliseconds since 1970."""

    run_id: str
    session_key: str
    session_id: str
    agent: str
    message: str
    timeout: float
    script: Script
    accepted_at: int
    lock: asyncio.Lock
    resets: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    final: Final | None = None
    task: "asyncio.Task[None] | None" = None
    started_at: int | None = None
    ended_at: int | None = None
    seq: int = 0

    @property
    def is_settling(self) -> bool:
        """It goes on, or ended so lately that its key says so still."""
        return self.ended_at is None or now_ms() < self.ended_at + self.script.settle * 1000
