"""Named places at which a test can end the process, as `kill -9` would (spec "reliability" §6)."""

import os
import signal

_AT = os.environ.get("ORCHESTRATOR_CRASH_AT")


def crash_point(name: str) -> None:
    """End this process here when `ORCHESTRATOR_CRASH_AT` names this place."""
    if name == _AT:
        os.kill(os.getpid(), signal.SIGKILL)
