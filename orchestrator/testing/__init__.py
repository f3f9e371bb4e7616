"""The test kit: run a definition in a plain test, with mocks and a virtual clock; replay recorded runs.

docs/testing.md shows how.
"""

from orchestrator.testing.env import Env
from orchestrator.testing.errors import BrokenError, EndlessError, UnmockedError
from orchestrator.testing.outcomes import NEVER, Call, Done, Fail
from orchestrator.testing.replay import Replayed, record, replay
from orchestrator.testing.run import Run, Step

__all__ = [
    "Env",
    "Run",
    "Step",
    "Call",
    "Done",
    "Fail",
    "NEVER",
    "record",
    "replay",
    "Replayed",
    "UnmockedError",
    "EndlessError",
    "BrokenError",
]
