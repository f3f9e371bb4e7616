"""How a local gateway behaves."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Pairing = Literal["loopback", "manual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Durations in seconds.

    `most`: runs at once, over all sessions. `resume_after`: until a turn that a crash interrupted is taken up.
    `pairing`: on "loopback" devices are paired silently, on "manual" an operator approves each and clients count as
    remote. `create_delay`: until a created agent can be called. `known_agents_only`: without it any name is an agent
    that echoes. `tasks_execute`: whether that method exists. `die`: ends the gateway as kill -9 would; None: the
    script can't ask for it.
    """

    token: str = field(repr=False)
    most: int = max(8, 4 * (os.cpu_count() or 1))
    tick: float = 30.0
    ping: float = 25.0
    connect_timeout: float = 15.0
    resume_after: float = 2.0
    pairing: Pairing = "loopback"
    create_delay: float = 2.0
    known_agents_only: bool = False
    tasks_execute: bool = False
    die: Callable[[], None] | None = None
