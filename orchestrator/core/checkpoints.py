"""Checkpoints are positions in a run's log: those that somebody named, and those that are there by themselves. Pure.

`after:<step>` stands behind each end of a step of the run itself, from the second on with `:2`, `:3` …;
`before:restore:<seq>` and `before:rerun:<seq>` before an operator's act that takes back.
Source: spec "engine", Checkpoints.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.core.replay import Logged

CREATED = "checkpoint.created"
ENDS = ("step.completed", "step.failed")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,63}", re.ASCII)
_RESERVED = ("after:", "before:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A position: the state after event `seq`. automatic: nobody named it."""

    name: str
    seq: int
    automatic: bool
    reason: str | None = None


def checkpoints(events: Iterable[Logged]) -> Iterator[Checkpoint]:
    """Those that events tell, given in order; events of other types may be left out. What a fork or a restore has
    copied is no end of a step."""
    ends: Counter[str] = Counter()
    for event in events:
        if event.type == CREATED:
            yield Checkpoint(
                name=event.data["name"],
                seq=event.seq,
                automatic=bool(event.data.get("automatic")),
                reason=event.data.get("reason"),
            )
        elif event.type in ENDS and event.step and "/" not in event.step and "copied" not in event.data:
            ends[event.step] += 1
            nth = "" if ends[event.step] == 1 else f":{ends[event.step]}"
            yield Checkpoint(name=f"after:{event.step}{nth}", seq=event.seq, automatic=True)


def mistake(name: str) -> str | None:
    """Why a name cannot be given to a checkpoint; None where it can."""
    if not _NAME.fullmatch(name):
        return "a name has 1 to 64 of a-z, 0-9 and _ . : -, and begins with a letter or digit"
    if name.startswith(_RESERVED):
        return "names that begin with after: or before: are those of automatic checkpoints; choose another"
    if name.isdigit():
        return "a name of digits alone would be the number of an event; add a letter"
    return None
