"""Ties a child's life to its parent's, where the kernel can."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def shared_with(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` by which the kernel sends `number` to the child when `parent` is gone, however it went.

    Linux only; None elsewhere, where the next start ends what was left (leftovers.py). Only for a parent
    without threads: the kernel means the thread that forked, and the function runs between fork and exec.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os._exit(1)

    return bind
